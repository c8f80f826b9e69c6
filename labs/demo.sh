#!/bin/sh
# The main job once through: up, look, try, down. Run by `make demo`; VTOPO is the command.
set -eu
lab=labs/quickstart.vlab
say() { printf '\n$ vtopo %s\n' "$*"; $VTOPO "$@"; }

if $VTOPO ls | grep -q '^quickstart '; then
  echo "a lab named quickstart is running already; take it down first: vtopo down quickstart" >&2
  exit 1
fi
trap '$VTOPO down -q quickstart >/dev/null 2>&1 || true' EXIT INT TERM

cat $lab
say up $lab
say status quickstart
mkdir -p build
if command -v dot >/dev/null; then say graph $lab -o build/quickstart.svg; else say graph $lab -o build/quickstart.dot; fi
say test $lab
if command -v ping >/dev/null; then say exec a -- ping -c 1 10.0.0.2; fi
say down quickstart
trap - EXIT INT TERM
