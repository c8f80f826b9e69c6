# Runs in the Debian guest: the system tests that are marked `debian`, and no other module, which might need more.
# Words for pytest in a file name others.
set -o pipefail
cd /work/tree || exit 1
# Not PYTHONPATH, which the tests set for the command.
echo /opt/site >/usr/local/lib/python3.11/dist-packages/tests.pth
export HOME=/root
words=$(cat /work/words)
marked=$(grep -l 'pytest\.mark\.debian' tests/system/test_*.py)
# An interrupt, since after that pytest says what failed until then.
# shellcheck disable=SC2086
timeout -s INT -k 30 "$(cat /work/seconds)" python3 -m pytest -vv --color=no --tb=short -p no:cacheprovider -rs --durations=0 --durations-min=2 \
  -m debian --junitxml=/work/junit.xml ${words:-$marked} 2>&1 | cat
