"""Locks: one command per lab, and everybody knows who."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vtopo.state.folder import StateDir
from vtopo.state.lock import Holder, LockHeld, holder_of, locked


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def test_the_second_is_told_who_holds_it(state: StateDir) -> None:
    with locked(state, "shop"), pytest.raises(LockHeld) as held, locked(state, "shop", timeout=0):
        pass
    assert held.value.holder is not None
    assert held.value.holder.pid == os.getpid()
    assert f"another command works on lab shop: process {os.getpid()} (" in str(held.value)


def test_labs_do_not_wait_for_each_other(state: StateDir) -> None:
    with locked(state, "shop", timeout=0), locked(state, "office", timeout=0):
        pass


def test_it_is_free_afterwards(state: StateDir) -> None:
    for _ in range(2):
        with locked(state, "shop", timeout=0):
            pass


def test_who_waits_gets_it_and_hears_once_for_whom_it_waits(state: StateDir) -> None:
    heard: list[Holder | None] = []
    got = threading.Event()

    def second() -> None:
        with locked(state, "shop", on_wait=heard.append):
            got.set()

    with locked(state, "shop"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        assert not got.is_set()
    thread.join(5)
    assert got.is_set()
    assert [h.pid for h in heard if h] == [os.getpid()]


def test_waiting_ends_in_time(state: StateDir) -> None:
    with locked(state, "shop"):
        started = time.monotonic()
        with pytest.raises(LockHeld), locked(state, "shop", timeout=0.2):
            pass
    assert 0.2 <= time.monotonic() - started < 2


def test_a_lab_removed_while_somebody_waits_is_not_locked_twice(state: StateDir) -> None:
    """The waiter must end up with a lock on the file that stands there, not on the one that was removed."""
    inside: list[str] = []

    def second() -> None:
        with locked(state, "shop"):
            inside.append("second")
            with pytest.raises(LockHeld), locked(state, "shop", timeout=0):
                pass

    with locked(state, "shop"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        state.remove("shop")
    thread.join(5)
    assert inside == ["second"]


def test_the_lock_of_a_killed_process_is_free(state: StateDir) -> None:
    code = (
        "import sys, time; from pathlib import Path; from vtopo.state.folder import StateDir;"
        "from vtopo.state.lock import locked\n"
        f"with locked(StateDir(Path({str(state.path)!r})), 'shop'): print('in', flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(str(p) for p in sys.path)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    holder = holder_of(state, "shop")
    assert holder is not None and holder.pid == process.pid
    process.kill()
    process.wait()
    process.stdout.close()
    with locked(state, "shop", timeout=0):
        pass


def test_a_forked_child_that_lives_on_does_not_keep_it(state: StateDir) -> None:
    with locked(state, "shop"):
        child = os.fork()
        if not child:
            time.sleep(3)
            os._exit(0)
    try:
        with locked(state, "shop", timeout=0):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
