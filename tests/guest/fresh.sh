# Runs in the Debian guest: README.md's two commands on a machine with git, make and Python, and a folder of wheels
# instead of a network; so `make test` takes along what is installed, and of its tests those that take long elsewhere
# are left out.
set -eu
cd /work/tree
export HOME=/root PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels
timeout 900 make demo
timeout 600 make test TOOLS= TESTS="tests/unit/test_plan.py tests/unit/test_store.py tests/system/test_enter.py tests/system/test_limits.py"
