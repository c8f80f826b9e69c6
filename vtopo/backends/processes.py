"""Which process is which, by pid and start time, and how to end many at once."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import time

from vtopo.backends.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Sequence
else:
    import _signal as signal  # what makes enums of its numbers takes as long to load as all else here


def identity(pid: int) -> tuple[str, int] | None:
    """State letter and start time in clock ticks since boot (proc_pid_stat(5)); None if there is no such process.

    OSError where it cannot be told, since no more files can be opened.
    """
    if _looked is None:
        return _identity(pid)
    if pid not in _looked:
        _looked[pid] = _identity(pid)
    return _looked[pid]


_looked: dict[int, tuple[str, int] | None] | None = None


def look_once() -> None:
    """From now on this process looks at each other one only once: it is here to look at a lab, and soon over."""
    global _looked
    _looked = {}


def _identity(pid: int) -> tuple[str, int] | None:
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        if e.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    try:
        fields = os.read(fd, 1024).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(fd)
    return (fields[0].decode(), int(fields[19])) if len(fields) > 19 else None


def is_alive(handle: Handle) -> bool:
    """Whether the process of `handle` itself, not another with its pid, runs in its network namespace."""
    return state(handle) is not None


def state(handle: Handle) -> str | None:
    """The state letter of the process of `handle`; None unless it is itself alive, and in its network namespace."""
    letter = state_anywhere(handle)
    if letter is None or handle.pid is None or handle.inode is None:
        return letter
    return letter if netns_inode(handle.pid) == handle.inode else None


def state_anywhere(handle: Handle) -> str | None:
    """The state letter of the process of `handle`, in whichever network namespace; None unless it is itself alive."""
    seen = identity(handle.pid) if handle.pid is not None else None
    return seen[0] if seen is not None and seen[0] not in "ZX" and seen[1] == handle.start else None


def netns_inode(pid: int) -> int | None:
    """The inode number of a process' network namespace."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino  # noqa: PTH116
    except OSError:
        return None


def is_ours(pid: int | str) -> bool:
    """Whether the process is this user's, or in a user namespace that this user has made (ioctl_ns(2))."""
    uid = os.geteuid()
    try:
        if os.stat(f"/proc/{pid}").st_uid == uid:  # noqa: PTH116
            return True
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return struct.unpack("=I", fcntl.ioctl(fd, _NS_GET_OWNER_UID, bytes(4)))[0] == uid and not _is_home(
            fd
        )
    except OSError:
        return False
    finally:
        os.close(fd)


_NS_GET_OWNER_UID = 0xB704


def _is_home(fd: int) -> bool:
    return os.fstat(fd).st_ino == os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116


def open_verified(handle: Handle) -> int | None:
    """A pidfd of the process of `handle`; None if that one is gone."""
    if handle.pid is None:
        return None
    try:
        fd = os.pidfd_open(handle.pid)
    except ProcessLookupError:
        return None
    if is_alive(handle):
        return fd
    os.close(fd)
    return None


def send(pidfd: int, number: int) -> None:
    """A signal to a process, if it has not ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def end(handles: Sequence[Handle], patience: float) -> list[Handle]:
    """SIGTERM to each, and SIGKILL to those that have not ended after `patience` seconds; who is left after all."""
    waiting = kill(handles, signal.SIGTERM)
    try:
        list(wait(waiting, patience))
        for fd in waiting:
            send(fd, signal.SIGKILL)
        list(wait(waiting, patience))
        return list(waiting.values())
    finally:
        close_all(waiting)


def kill(handles: Sequence[Handle], number: int = signal.SIGKILL) -> dict[int, Handle]:
    """The signal to each that still is who it was; pidfds to wait on, which the caller closes."""
    waiting: dict[int, Handle] = {}
    try:
        for handle in handles:
            if (fd := open_verified(handle)) is not None:
                waiting[fd] = handle
        # To look at processes takes longer once the kernel is busy with the end of others.
        for fd in waiting:
            send(fd, number)
    except BaseException:
        close_all(waiting)
        raise
    return waiting


def wait(waiting: dict[int, Handle], seconds: float) -> Iterator[Handle]:
    """Each process as it ends; its pidfd is closed and taken out of `waiting`. What remains did not end in time."""
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    end = time.monotonic() + seconds
    while waiting and (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            os.close(fd)
            yield waiting.pop(fd)


def close_all(waiting: dict[int, Handle]) -> None:
    """Close the pidfds that are left."""
    while waiting:
        os.close(waiting.popitem()[0])
