"""How what exists is found again, and that a system is out of reach: what small commands share with large ones."""

from __future__ import annotations

from collections import namedtuple


# No dataclass: what makes those takes longer to load than all else that a small command needs.
class Handle(namedtuple("Handle", ("pid", "start", "inode"), defaults=(None, None, None))):
    """How a resource that exists is found again: a host's init by pid, start time and namespace inode.

    Resources that are found by name alone have an empty handle. Pid and start time (clock ticks since
    boot, field 22 of /proc/PID/stat, proc(5)) together never name two processes.
    """

    __slots__ = ()
    pid: int | None
    start: int | None
    inode: int | None


class BackendError(Exception):
    """A system is out of reach as a whole; the text says what to do about it."""
