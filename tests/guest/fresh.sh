# Runs in the Debian guest: README.md's two commands on a machine with git, make and Python, and a folder of wheels
# instead of a network; so `make test` takes along what is installed, and of its tests those that take long elsewhere
# are left out. An emulated machine takes longer to compile all that is installed than all that is used, so pip leaves
# that to Python (for pip, a false PIP_NO_COMPILE is --no-compile).
set -eu
cd /work/tree
export HOME=/root PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PIP_NO_COMPILE=0
timeout 2100 make demo
timeout 1200 make test TOOLS= TESTS="tests/unit/test_plan.py tests/unit/test_store.py tests/system/test_enter.py tests/system/test_limits.py"
