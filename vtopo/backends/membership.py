"""Which processes belong to a host, and which cgroups a process is in."""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vtopo.backends import mounts
from vtopo.backends.base import Handle
from vtopo.backends.processes import identity, netns_inode

# Each kind of namespace by its file in /proc/PID/ns, with its flag (namespaces(7)).
NAMESPACES: Mapping[str, int] = {
    "user": 0x10000000,
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "mnt": 0x00020000,
    "time": 0x00000080,
}


def inodes(pid: int | str) -> dict[str, int]:
    """The namespaces of a process by kind, as inode numbers; those that cannot be seen are left out."""
    found = {}
    for kind in NAMESPACES:
        try:
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        except OSError:
            continue
    return found


def own(pid: int) -> dict[str, int]:
    """The namespaces of a process that are not this process' own."""
    ours = inodes("self")
    return {kind: inode for kind, inode in inodes(pid).items() if ours.get(kind) != inode}


def processes(init: int) -> list[Handle]:
    """All processes of the host with this init but the init itself: those in a namespace of the host's own.

    Where the host has a pid namespace of its own, that alone decides.
    """
    kinds = own(init)
    if "pid" in kinds:
        kinds = {"pid": kinds["pid"]}
    kinds.pop("time", None)
    kinds.pop("cgroup", None)
    found = []
    for pid in _pids():
        if pid != init and any(_inode(pid, kind) == inode for kind, inode in kinds.items()):
            seen = identity(pid)
            if seen is not None and seen[0] not in "ZX":
                found.append(Handle(pid, seen[1], netns_inode(pid)))
    return found


def with_variable(name: str, values: frozenset[str]) -> Iterator[tuple[str, Handle]]:
    """The processes of this user whose environment has `name` with one of these values."""
    uid = os.geteuid()
    prefix = f"{name}=".encode()
    for pid in _pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid != uid:
                continue
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        value = next((os.fsdecode(e[len(prefix) :]) for e in environ if e.startswith(prefix)), None)
        if value in values:
            seen = identity(pid)
            if seen is not None and seen[0] not in "ZX":
                yield value, Handle(pid, seen[1], netns_inode(pid))


def cgroups(pid: int) -> list[str]:
    """The folders of the cgroups that a process is in, but for the roots (cgroups(7)); for one that is to join it."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path == "/":
            continue
        mount = _hierarchies().get(frozenset(controllers.split(",")) if controllers else frozenset())
        if mount is not None:
            found.append(f"{mount}{path}")
    return found


def _hierarchies() -> Mapping[frozenset[str], str]:
    """Where each hierarchy is mounted, by its controllers; version 2's by none."""
    if not _known:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            fields, (fstype, _, options, *_) = left.split(" "), right.split(" ")
            if fstype == "cgroup2" and fields[3] == "/":
                _known.setdefault(frozenset(), mounts.unescape(fields[4]))
            elif fstype == "cgroup" and fields[3] == "/":
                names = frozenset(options.split(",")) - {"rw", "ro", "clone_children", "xattr"}
                names = frozenset(n for n in names if not n.startswith("release_agent="))
                _known.setdefault(names, mounts.unescape(fields[4]))
    return _known


_known: dict[frozenset[str], str] = {}


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _inode(pid: int, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return -1
