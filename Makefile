# What one does with vtopo's sources. `make help` lists it.

# The distribution's Python first: it is root's own, as what runs as root should be, and built with optimizations that one
# made by pyenv lacks, which is slower by a sixth.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# What `make test` runs, and what it installs first: `make test TOOLS=` takes what there is.
TESTS ?= tests/unit tests/golden tests/system tests/guest/test_debian_guest.py
TOOLS ?= tools
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help setup demo guest test test-guest test-fresh lint golden bench clean tools

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## a virtual environment with vtopo and its tools

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vtopo needs Python 3.11 or later; name one with PYTHON=..."; exit 1; }
	@# Debian and Ubuntu split venv off; nothing else is needed of them here.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "installing vtopo and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@# An editable install leaves the sources uncompiled; the first check compiles them and the grammar's tables.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q vtopo
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/vtopo check -q labs/quickstart.vlab
	@touch $@

demo: $(VENV)/.ready ## bring labs/quickstart.vlab up, look at it, take it down
	@VTOPO="$(SUDO) $(BIN)/vtopo" sh labs/demo.sh

tools: $(VENV)/.ready
	@# What the tests ask the kernel with, Graphviz' renderer, Docker, libvirt with QEMU; installed where missing.
	@missing=""; for pair in ip:iproute2 ping:iputils-ping nft:nftables iptables-nft:iptables dot:graphviz tcpdump:tcpdump bird:bird2 dockerd:docker.io \
	    libvirtd:libvirt-daemon-system virsh:libvirt-clients qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils ssh:openssh-client \
	    dbus-daemon:dbus tini:tini busybox:busybox-static cpio:cpio blkid:util-linux gcc:gcc pkg-config:pkg-config \
	    debootstrap:debootstrap mke2fs:e2fsprogs podman:podman; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	for pair in /usr/include/libvirt/libvirt.h:libvirt-dev /usr/share/OVMF/OVMF_CODE_4M.fd:ovmf \
	    /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so:libvirt-daemon-driver-qemu \
	    /usr/include/python3*/Python.h:python3-dev; do \
	  ls $${pair%%:*} >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; done; \
	[ -z "$$missing" ] || { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; }
	@# Compiled against libvirt-dev, so not among what `setup` installs.
	@$(BIN)/python -c 'import libvirt, pycdlib' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[libvirt]'

guest: tools ## the small guest that the labs with VMs boot: Debian's kernel, and busybox
	@cd tests && $(SUDO) ../$(BIN)/python -m guest.small

test: $(VENV)/.ready $(TOOLS) ## every test, also in the Debian guest; as root, since most make real namespaces and links
	@$(SUDO) $(BIN)/python -m pytest -n 2 -rs $(TESTS)

test-guest: $(VENV)/.ready $(TOOLS) ## the tests marked `debian` in a stock Debian under QEMU, with cgroup v2
	@$(SUDO) $(BIN)/python -m pytest -s tests/guest/test_debian_guest.py

test-fresh: $(VENV)/.ready $(TOOLS) ## `make demo` and a part of `make test` there, as on a fresh machine
	@$(SUDO) $(BIN)/python -m pytest -s tests/guest/test_fresh.py

lint: $(VENV)/.ready ## ruff and mypy --strict
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

golden: $(VENV)/.ready ## rewrite the golden files; review the difference
	@$(BIN)/python -m pytest tests/golden --rewrite-golden
	@git --no-pager diff --stat -- tests/golden

bench: $(VENV)/.ready ## speed against the kernel's floor and Mininet, in one run
	@$(SUDO) $(BIN)/python -m bench $(BENCH)

clean: ## remove what these commands made
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
