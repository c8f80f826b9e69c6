"""System calls that Python 3.11 has no function for, by way of the C library; failures are OSErrors with the errno."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

# Flags of mount(2), umount2(2) and namespaces(7).
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = (
    2, 4, 8, 0x1000, 0x4000, 0x40000, 0x100000,
)  # fmt: skip
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000,
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def _check(result: int, path: str | None = None) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str | Path, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    raw = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype), flags, os.fsencode(data))
    _check(_libc.mount(*raw), str(target))


def umount(target: str | Path) -> None:
    """umount2(2): off the tree at once, freed when its last user ends; no symbolic link is followed."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW), str(target))


def setns(fd: int, kinds: int) -> None:
    """setns(2), of the calling thread, to the namespace (or with a pidfd: the kinds of namespaces) behind `fd`."""
    _check(_libc.setns(fd, kinds))


def unshare(kinds: int) -> None:
    """unshare(2), of the calling thread."""
    _check(_libc.unshare(kinds))


def rename_new(folder: int, old: str, new: str) -> None:
    """renameat2(2) within the folder of a descriptor; FileExistsError if `new` is there already."""
    _check(_libc.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), 1), new)  # RENAME_NOREPLACE


def raise_fd_limit() -> int:
    """Let this process open as many files as it may; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (PR_SET_PDEATHSIG, prctl(2))."""
    _check(_libc.prctl(1, 9, 0, 0, 0))
