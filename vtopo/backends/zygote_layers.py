"""What a host's root is made of: which of the machine's disks it sees, and whose its own folders are."""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: PTH101, PTH102, PTH112, PTH116, PTH123, S108, SIM105

from __future__ import annotations

import errno
import os

# File systems on no block device of their own whose files a host should see, too.
CONTAINERS = (
    "/merged",
    "/rootfs",
)  # where Docker, Podman and containerd mount a container's root while it runs
DISKS = frozenset({"btrfs", "zfs", "bcachefs", "overlay", "nfs", "nfs4", "9p", "virtiofs", "ceph"})
# A host has its own of these.
OWN = ("/proc", "/sys", "/dev", "/run", "/tmp")
# Folders of a host's root that are its own root's, whoever owns them on the machine.
OWN_FOLDERS = (
    *(("etc", 0o755), ("run", 0o755), ("run/lock", 0o1777), ("tmp", 0o1777), ("dev", 0o755)),
    ("root", 0o700),
)


class Disk:
    """A file system of the machine below /, which a host sees copy-on-write (or read-only, if overlayfs refuses it)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_only = False


def unescape(field: str) -> str:
    """A field of mountinfo with its octal escapes resolved (proc_pid_mountinfo(5))."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def choose(mountinfo: str) -> tuple[list[Disk], list[str]]:
    """Which mounts a host sees, too, and which to detach, from the last mounted on.

    What is mounted on one that is detached goes with it, such as the names of a thousand network namespaces; but what
    covers it is in its way.
    """
    kept: dict[str, str] = {}  # id -> path
    gone: dict[str, str] = {}
    detach: list[str] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        ident, parent, device, _, path, *_ = left.split(" ")
        path, fstype = unescape(path), right.split(" ")[0]
        if path == "/":
            kept = {ident: path}
        elif (
            (not device.startswith("0:") or fstype in DISKS)
            and parent in kept
            and not any(path == own or path.startswith(own + "/") for own in OWN)
            and not (fstype == "overlay" and path.endswith(CONTAINERS))
            and os.path.isdir(path)
        ):
            kept[ident] = path
        else:
            if gone.get(parent, path) == path:
                detach.append(path)
            gone[ident] = path
    disks = [Disk(path) for path in dict.fromkeys(kept.values()) if path != "/"]
    return disks, detach[::-1]


def is_gone(path: str) -> bool:
    """Whether a folder on which a disk was mounted is there no more: with Docker's containers some come and go."""
    return not os.path.isdir(path)


def escaped(path: str) -> str:
    """A path as the options of overlayfs take it."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def give_to_root(upper: str, ids: tuple[int, int]) -> None:
    """Have the folders that a host needs be its own root's."""
    for folder, mode in (("", 0o755), *OWN_FOLDERS):
        path = f"{upper}/{folder}"
        try:
            os.mkdir(path)
        except FileExistsError:
            pass
        os.chown(path, *ids)
        os.chmod(path, mode)
    os.chown(f"{upper}/etc/hostname", *ids)


def copy_owner(path: str, to: str) -> None:
    """Give an upper layer's root the owner and mode of the folder that it covers."""
    status = os.stat(path)
    try:
        os.chown(to, status.st_uid, status.st_gid)
    except OSError as e:
        if e.errno != errno.EINVAL:  # an owner whom the user namespace does not have
            raise
    os.chmod(to, status.st_mode & 0o7777)


def without_root(base: str) -> tuple[list[str], list[str]]:
    """The folders that a host sees and the devices to bind, as the lab's tmpfs lists them where there is no root."""
    try:
        with open(f"{base}/shown", encoding="utf-8", errors="surrogateescape") as f:
            lines = [line.rstrip("\n") for line in f]
    except FileNotFoundError:
        return [], []
    return [line for line in lines if line[0] == "/"], [line for line in lines if line[0] != "/"]
