"""The way into a control group for a process of one thread: it is in it once it has written 0 there."""

from __future__ import annotations

import os


def open_door(folder: str, dir_fd: int | None = None) -> int:
    """A descriptor to write 0 to; FileNotFoundError if there is no such group.

    On cgroup v1 it is `tasks`: who moves one thread, itself, does not lock all processes of the machine, as
    `cgroup.procs` does, which waits for a grace period of RCU: 5 to 15 ms (cgroup_procs_write_start in
    kernel/cgroup/cgroup.c). On v2 there is only the latter.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(f"{folder}/tasks", flags, dir_fd=dir_fd)
    except FileNotFoundError:
        return os.open(f"{folder}/cgroup.procs", flags, dir_fd=dir_fd)
