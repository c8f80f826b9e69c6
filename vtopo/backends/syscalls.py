"""System calls that Python 3.11 has no function for, by way of the C library; failures are OSErrors with the errno."""

from __future__ import annotations

import ctypes
import os
import resource
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

# Flags of mount(2), umount2(2) and namespaces(7).
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = (
    2, 4, 8, 0x1000, 0x4000, 0x40000, 0x80000, 0x100000,
)  # fmt: skip
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip

CLONE_FS = 0x200
CLONE_NEWTIME = 0x80
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10  # openat2(2)
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_FDCWD = 0x1000, 0x8000, -100
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_EMPTY_PATHS = 0x04 | 0x40
_MOUNT_ATTR_RDONLY = 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
# Numbers of system calls without a function in the C library; the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
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


def change_root() -> None:
    """pivot_root(2): the working folder, on which something is mounted, is the root from now on; the old one goes."""
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), ".")
    umount(".")
    os.chdir("/")


def setns(fd: int, kinds: int) -> None:
    """setns(2), of the calling thread, to the namespace (or with a pidfd: the kinds of namespaces) behind `fd`."""
    _check(_libc.setns(fd, kinds))


def unshare(kinds: int) -> None:
    """unshare(2), of the calling thread."""
    _check(_libc.unshare(kinds))


def rename_new(folder: int, old: str, new: str) -> None:
    """renameat2(2) within the folder of a descriptor; FileExistsError if `new` is there already."""
    _check(_libc.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), 1), new)  # RENAME_NOREPLACE


def openat2(folder: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """openat2(2)."""
    how = struct.pack("=QQQ", flags, mode, resolve)
    fd = _libc.syscall(_OPENAT2, folder, os.fsencode(path), how, len(how))
    _check(fd, path)
    return int(fd)


def open_tree_clone(path: str) -> int:
    """open_tree(2): a copy of what is mounted at `path` and below it, mounted nowhere yet."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    fd = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    _check(fd, path)
    return int(fd)


def move_mount(tree: int, place: int) -> None:
    """move_mount(2): attach the mounts behind one descriptor at the place behind another."""
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", place, b"", _MOVE_MOUNT_EMPTY_PATHS))


def mount_setattr(tree: int, *, read_only: bool, private: bool = False) -> None:
    """mount_setattr(2), of the mounts behind a descriptor and all below."""
    on, off = (_MOUNT_ATTR_RDONLY, 0) if read_only else (0, _MOUNT_ATTR_RDONLY)
    attr = struct.pack("=QQQQ", on, off, MS_PRIVATE if private else 0, 0)
    _check(_libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attr, len(attr)))


def raise_fd_limit() -> int:
    """Let this process open as many files as it may; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (PR_SET_PDEATHSIG, prctl(2))."""
    _check(_libc.prctl(1, 9, 0, 0, 0))
