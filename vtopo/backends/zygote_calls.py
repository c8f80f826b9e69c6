"""The system calls of the programs that make hosts, by way of the C library; it imports as little as they do.

What fails is a SetupError with the kernel's own words.
"""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: PTH110, SIM105

from __future__ import annotations

import _socket
import ctypes
import errno
import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal  # what makes enums of its numbers takes a tenth of a zygote's start

# The kinds of namespaces by their files in /proc/PID/ns, with their flags (namespaces(7)).
FLAGS = {
    "mnt": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "time": 0x80,
    "user": 0x10000000,
}
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_NEWNET = (
    FLAGS[k] for k in ("mnt", "cgroup", "user", "net")
)
# Flags of mount(2), umount2(2), open_tree(2), move_mount(2) and mount_setattr(2).
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = (
    1, 2, 4, 8, 0x20, 0x1000, 0x2000, 0x4000, 0x40000,
)  # fmt: skip
MS_SAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC
MNT_DETACH = 2
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, AT_FDCWD = 1, 0o2000000, -100
MOVE_MOUNT_F_EMPTY_PATH = 4
AT_RECURSIVE, AT_EMPTY_PATH = 0x8000, 0x1000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_SAFE, MOUNT_ATTR_IDMAP = 1, 0xE, 0x100000
FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC = 1, 6, 1
# Numbers of system calls without a function in the C library; these are the same on every architecture.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
SIOCSIFFLAGS, _IFF_UP_LOOPBACK = 0x8914, 0x9
LOOPBACK_UP = struct.pack("=16sh22x", b"lo", _IFF_UP_LOOPBACK)
"""A struct ifreq for that."""
TERMINALS, TTY = "newinstance,ptmxmode=0666,mode=620", 5  # of devpts; the number of Debian's group tty
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME = 1, 4, 15

libc = ctypes.PyDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
libc.syscall.restype = ctypes.c_long


class SetupError(Exception):
    """A step of a set-up failed: `args` are errno and the text for people."""


def step(what: str, result: int, advice: str = "") -> int:
    """`result`, or a SetupError with the errno in words if it is negative."""
    if result < 0:
        raise refused(ctypes.get_errno(), what, advice)
    return result


def refused(number: int, what: str, advice: str = "") -> SetupError:
    """A step failed with this errno; the advice is for where something is not permitted."""
    text = f"{what}: {os.strerror(number)}"
    return SetupError(number, f"{text}: {advice}" if advice and number == errno.EPERM else text)


def mount(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "", advice: str = ""
) -> None:
    """mount(2)."""
    raw = [None if s is None else os.fsencode(s) for s in (source, target, fstype)]
    step(mounting(source, target, fstype), libc.mount(*raw, flags, os.fsencode(data)), advice)


def mounting(source: str | None, target: str, fstype: str | None) -> str:
    """What a mount does, in words."""
    return f"mount of {fstype or source} on {target}"


def clone_tree(path: str, flags: int = 0) -> int:
    """open_tree(2): a copy of what is mounted at `path`, mounted nowhere yet."""
    return step(
        f"open_tree of {path}",
        libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags),
    )


def attach(tree: int, path: str) -> None:
    """move_mount(2): mount such a copy at `path`."""
    moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(path), MOVE_MOUNT_F_EMPTY_PATH)
    step(f"move_mount to {path}", moved)


def new_proc() -> int:
    """A new /proc that is mounted nowhere, open as a folder; fsopen(2), fsconfig(2), fsmount(2)."""
    fs = step("fsopen of proc", libc.syscall(SYS_FSOPEN, b"proc", FSOPEN_CLOEXEC))
    try:
        step("fsconfig of proc", libc.syscall(SYS_FSCONFIG, fs, FSCONFIG_CMD_CREATE, None, None, 0))
        return step("fsmount of proc", libc.syscall(SYS_FSMOUNT, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_SAFE))
    finally:
        os.close(fs)


def make_read_only(path: str, tree: int = -1) -> None:
    """Or its copy `tree`; by mount_setattr(2), which leaves flags alone that a user namespace may not take."""
    attr = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    which = (AT_FDCWD, os.fsencode(path), 0) if tree < 0 else (tree, b"", AT_EMPTY_PATH)
    step(f"mount_setattr of {path}", libc.syscall(SYS_MOUNT_SETATTR, *which, attr, len(attr)))


def read_only_copy(path: str) -> int:
    """A copy of a file's or folder's mount, mounted nowhere, by which nobody can write.

    A program is to be executed by one where somebody else's root may find it as /proc/PID/exe (CVE-2019-5736).
    """
    tree = clone_tree(path)
    try:
        make_read_only(path, tree)
    except SetupError:
        os.close(tree)
        raise
    return tree


def map_ids(tree: int, owner: int) -> bool:
    """Show the files of a copy with the ids of the user namespace behind `owner`; False if the kernel cannot."""
    attr = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_IDMAP, 0, 0, owner)
    return bool(libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attr, len(attr)) == 0)


def die_with_parent(yes: bool = True) -> None:
    """Have the kernel kill this process when its parent ends, or no more; a change of ids makes it forget that."""
    libc.prctl(PR_SET_PDEATHSIG, 9 if yes else 0, 0, 0, 0)


def end(pid: int) -> None:
    """End a process, unless it has ended by itself: nobody waits for it, so it leaves no trace then."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def write(path: str, text: str) -> None:
    """A new file with `text`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.write(fd, text.encode())
    os.close(fd)


def loopback_up() -> None:
    """Bring `lo` up with an ioctl, netdevice(7); of a new namespace's, no other flag could be lost."""
    s = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    fcntl.ioctl(s.fileno(), SIOCSIFFLAGS, LOOPBACK_UP)
    s.close()


class AtOnce:
    """The calls of a host's set-up, each made as it is asked for."""

    mount = staticmethod(mount)
    loopback_up = staticmethod(loopback_up)

    def exists(self, path: str) -> bool:
        """Whether there is something at a path below /proc."""
        return os.path.exists(path)

    def set(self, path: str, value: str) -> None:
        """Write a setting below /proc."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, value.encode())
        os.close(fd)

    def mount_terminals(self, path: str) -> None:
        """Pseudoterminals of the host's own; a user namespace may have no group tty."""
        flags = MS_NOSUID | MS_NOEXEC
        try:
            mount("devpts", path, "devpts", flags, f"{TERMINALS},gid={TTY}")
        except SetupError:
            mount("devpts", path, "devpts", flags, TERMINALS)

    def name_host(self, name: str) -> None:
        """sethostname(2)."""
        raw = os.fsencode(name)
        step("sethostname", libc.sethostname(raw, len(raw)))
