"""How what exists is found again, and that a system is out of reach: what small commands share with large ones."""

from __future__ import annotations

from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Handle:
    """How a resource that exists is found again: a host's init by pid, start time and namespace inode.

    Resources that are found by name alone have an empty handle. Pid and start time (clock ticks since
    boot, field 22 of /proc/PID/stat, proc(5)) together never name two processes.
    """

    pid: int | None = None
    start: int | None = None
    inode: int | None = None


class BackendError(Exception):
    """A system is out of reach as a whole; the text says what to do about it."""
