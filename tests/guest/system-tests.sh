# Runs in the Debian guest: the system tests that are marked `debian`, and no other module, which might need more.
set -o pipefail
cd /work/tree || exit 1
# Not PYTHONPATH, which the tests set for the command.
echo /opt/site >/usr/local/lib/python3.11/dist-packages/tests.pth
export HOME=/root
marked=$(grep -l 'pytest\.mark\.debian' tests/system/test_*.py)
# shellcheck disable=SC2086
timeout -k 10 1200 python3 -m pytest -vv --color=no --tb=short -p no:cacheprovider -rs --durations=10 -m debian \
  --junitxml=/work/junit.xml $marked 2>&1 | cat
