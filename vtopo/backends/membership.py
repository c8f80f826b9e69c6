"""Which processes belong to a host, by its namespaces or by what their environment says."""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vtopo.backends import supervised
from vtopo.backends.base import Handle
from vtopo.backends.processes import identity, netns_inode

NAMESPACES: Mapping[str, int] = dict(supervised.NAMESPACES)
"""Each kind of namespace by its file in /proc/PID/ns, with its flag (namespaces(7))."""


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


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _inode(pid: int, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return -1
