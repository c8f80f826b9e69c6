"""Which processes belong to a host, by its namespaces or by what their environment says."""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from vtopo.backends import foreign
from vtopo.backends.handle import Handle
from vtopo.backends.processes import close_all, identity, is_ours, kill, netns_inode
from vtopo.model.kinds import NAMESPACES, USUAL

_SAID, _USUAL = b"VTOPO_NAMESPACES=", frozenset(USUAL)
KINDS: Mapping[str, int] = dict(foreign.NAMESPACES)
"""Each kind of namespace by its file in /proc/PID/ns, with its flag (namespaces(7))."""


def inodes(pid: int | str) -> dict[str, int]:
    """The namespaces of a process by kind, as inode numbers; those that cannot be seen are left out."""
    found = {}
    for kind in KINDS:
        try:
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        except OSError:
            continue
    return found


def own(pid: int) -> dict[str, int]:
    """The namespaces of a process that are not this process' own."""
    ours = inodes("self")
    return {kind: inode for kind, inode in inodes(pid).items() if ours.get(kind) != inode}


def deciding(init: int) -> tuple[str, int]:
    """The kind and inode of the namespace that tells which processes are those of the host with this init.

    It goes by what the init's environment says that the host has of its own: what merely differs from where we are
    may be the whole machine's, or a service manager's. An inode of 0: there is none.
    """
    try:
        said = _own_kinds(init)
    except OSError:
        return "", 0
    for kind in NAMESPACES:
        inode = inode_of(init, kind)
        if kind in said and inode and inode != inode_of("self", kind):
            return kind, inode
    return "", 0


def _own_kinds(init: int) -> frozenset[str]:
    """The kinds of namespaces that a host has of its own, by what its init's environment says; OSError if gone."""
    fd = os.open(f"/proc/{init}/environ", os.O_RDONLY | os.O_CLOEXEC)
    try:
        environ = os.read(fd, 1 << 16).split(b"\0")
    finally:
        os.close(fd)
    for each in environ:
        if each.startswith(_SAID):
            return frozenset(os.fsdecode(each[len(_SAID) :]).split(","))
    return _USUAL


def is_first(init: int) -> bool:
    """Whether the host with this init has a pid namespace, which ends with it."""
    return deciding(init)[0] == "pid"


def processes(init: int) -> list[Handle]:
    """All processes of the host with this init but the init itself: those in the namespace that decides."""
    kind, inode = deciding(init)
    found = []
    for pid in _pids() if inode else ():
        if pid != init and inode_of(pid, kind) == inode:
            seen = identity(pid)
            if seen is not None and seen[0] not in "ZX":
                found.append(Handle(pid, seen[1], netns_inode(pid)))
    return found


def pause(host: Handle, *, paused: bool) -> None:
    """Hold all processes of the host with this init where they are (SIGSTOP), or have them go on.

    The init goes last when they stop and first when they go on: by it the host is seen to be paused.
    """
    assert host.pid is not None
    number = signal.SIGSTOP if paused else signal.SIGCONT
    if not paused:
        close_all(kill([host], number))
    told: set[Handle] = set()
    while left := [one for one in processes(host.pid) if one not in told]:  # with what was forked meanwhile
        close_all(kill(left, number))
        told.update(left)
    if paused:
        close_all(kill([host], number))


def with_variable(name: str, values: frozenset[str]) -> Iterator[tuple[str, Handle]]:
    """The processes of this user whose environment has `name` with one of these values."""
    prefix = f"{name}=".encode()
    for pid in _pids():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        value = next((os.fsdecode(e[len(prefix) :]) for e in environ if e.startswith(prefix)), None)
        if value in values and is_ours(pid):
            seen = identity(pid)
            if seen is not None and seen[0] not in "ZX":
                yield value, Handle(pid, seen[1], netns_inode(pid))


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def inode_of(pid: int | str, kind: str) -> int:
    """The inode of one of a process' namespaces; 0 if it cannot be seen."""
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return 0
