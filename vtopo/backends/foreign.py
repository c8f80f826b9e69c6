"""Which namespaces of a process are not this one's, and how to be the root of a user namespace that was entered."""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as a lab.
# ruff: noqa: PTH116, SIM105

from __future__ import annotations

import os

# Each kind of namespace by its file in /proc/PID/ns, with its flag for setns(2) (namespaces(7)).
NAMESPACES = (
    ("user", 0x10000000),
    ("cgroup", 0x02000000),
    ("ipc", 0x08000000),
    ("uts", 0x04000000),
    ("net", 0x40000000),
    ("pid", 0x20000000),
    ("mnt", 0x00020000),
    ("time", 0x00000080),
)
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000


def foreign(pid: int) -> int:
    """The flags of those namespaces of a process that are not this one's, for setns(2)."""
    return sum(flag for name, flag in NAMESPACES if ns_inode(pid, name) != ns_inode("self", name))


def be_root() -> None:
    """Be the root of the user namespace that this process has entered."""
    try:
        os.setgroups([])
    except PermissionError:
        pass  # it may not let go of groups (user_namespaces(7), setgroups)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def ns_inode(pid: int | str, name: str) -> int:
    """The inode of one of a process' namespaces; 0 where the kernel has none of that kind."""
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino
    except FileNotFoundError:
        return 0
