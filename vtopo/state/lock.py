"""One command at a time per lab: a file lock that says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vtopo.state.folder import StateDir, make_file, state_error
from vtopo.values import dataclass

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: process id, command line, and since when (seconds since the epoch)."""

    pid: int
    command: str
    since: int

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} ({self.command}), since {since}"


class LockHeld(Exception):
    """Another command works on the lab and did not end in time; `holder` is None if it cannot be told."""

    def __init__(self, lab: str, holder: Holder | None) -> None:
        super().__init__(f"another command works on lab {lab}: {holder or 'an unknown process'}")
        self.lab = lab
        self.holder = holder


@contextlib.contextmanager
def locked(
    state: StateDir,
    lab: str,
    timeout: float | None = None,
    on_wait: Callable[[Holder | None], None] = lambda _: None,
) -> Iterator[None]:
    """Holds the lab's lock; makes its folder if need be.

    Waits `timeout` seconds (None: as long as it takes, 0: not at all), then raises LockHeld. `on_wait` hears
    of each holder that is waited for.
    """
    descriptor = _acquire(state, lab, timeout, on_wait)
    try:
        yield
    finally:
        # Unlocked by name: a process forked meanwhile may hold a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(
    state: StateDir, lab: str, timeout: float | None, on_wait: Callable[[Holder | None], None]
) -> int:
    deadline = None if timeout is None else time.monotonic() + timeout
    told: Holder | None = None
    waited = False
    while True:
        descriptor = _try(state, lab)
        if descriptor is not None:
            return descriptor
        holder = holder_of(state, lab)
        if deadline is not None and time.monotonic() >= deadline:
            raise LockHeld(lab, holder)
        if not waited or holder not in (None, told):
            on_wait(holder)
            waited, told = True, holder
        time.sleep(_POLL)


def _try(state: StateDir, lab: str) -> int | None:
    """The lock's descriptor, or None if someone else has it or the file was replaced in between."""
    path = state.folder(lab) / "lock"
    try:
        with state.opened(lab, create=True) as folder:
            make_file(folder, "lock", path)
            descriptor = os.open("lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before us may have removed the file: then this is a lock on nothing.
                if not _is_at(descriptor, path):
                    raise BlockingIOError
                _sign(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as e:
        state.discard(lab)
        raise state_error(e, path) from e


def _is_at(descriptor: int, path: os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    command = " ".join([Path(sys.argv[0] or "python").name, *sys.argv[1:]])
    text = json.dumps({"pid": os.getpid(), "command": command, "since": int(time.time())})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(errors="replace"), 0)


def holder_of(state: StateDir, lab: str) -> Holder | None:
    """Who signed the lab's lock last; None if nobody did, legibly."""
    try:
        data = json.loads((state.folder(lab) / "lock").read_bytes())
        return Holder(int(data["pid"]), str(data["command"]), int(data["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
