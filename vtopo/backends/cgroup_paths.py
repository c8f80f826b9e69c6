"""Which cgroup hierarchies this machine has, v1, v2 or both, and where in them a process is: all that `exec` needs."""

# No dataclasses, no re, no contextlib: what is loaded here delays every command in a host with limits.

from __future__ import annotations

import os
from collections import namedtuple
from itertools import pairwise

from vtopo.backends import mounts
from vtopo.backends.cgroup_door import open_door

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CONTROLLERS = frozenset({"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices"})


class Hierarchy(
    namedtuple("Hierarchy", ("version", "path", "controllers", "root", "read_only"), defaults=("/", False))
):
    """A mounted hierarchy: `controllers` by their own names in it; `root` is the group that `path` shows."""

    __slots__ = ()
    version: int
    path: str
    controllers: frozenset[str]
    root: str
    read_only: bool

    def read(self, file: str) -> str:
        """A file of its topmost group; empty if there is none."""
        return text_of(f"{self.path}/{file}")

    def has(self, file: str) -> bool:
        """Whether its topmost group has the file."""
        return os.path.exists(f"{self.path}/{file}")  # noqa: PTH110


def hierarchies() -> tuple[Hierarchy, ...]:
    """What is mounted, found by looking: each hierarchy once, v1 first (cgroups(7))."""
    return tuple(sorted(_mounted(), key=lambda h: h.version))


def _mounted() -> Iterator[Hierarchy]:
    """Each hierarchy once, in the order of mounting."""
    seen: set[frozenset[str] | None] = set()
    for mount in mounts.mounts(having=" - cgroup"):
        options = frozenset(mount.options.split(","))
        names = options & _CONTROLLERS
        key = names if mount.fstype == "cgroup" else None
        if key in seen or (mount.fstype == "cgroup" and not names):
            continue
        seen.add(key)
        if key is None:
            names = frozenset(text_of(f"{mount.path}/cgroup.controllers").split())
        yield Hierarchy(2 if key is None else 1, mount.path, names, mount.root, "ro" in options)


def groups_of(pid: int | str) -> Iterator[tuple[frozenset[str], str]]:
    """The groups of a process: the hierarchy's controllers (none: v2) and the group's path (proc_pid_cgroup(5))."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:  # noqa: PTH123
            text = f.read()
    except OSError:
        return
    for line in text.splitlines():
        number, names, path = line.split(":", 2)
        if number == "0" or not names.startswith("name="):
            yield frozenset(names.split(",") if names else ()), path


def folder_of(h: Hierarchy, path: str) -> str:
    """Where a hierarchy shows the group `path`."""
    inside = path.removeprefix(h.root) if h.root != "/" else path
    return f"{h.path}/{inside.strip('/')}".rstrip("/")


def matching(h: Hierarchy, names: frozenset[str]) -> bool:
    """Whether a line of /proc/PID/cgroup is about this hierarchy."""
    return not names if h.version == 2 else h.controllers <= names


def folders(pid: int, look: Callable[[], Iterable[Hierarchy]] = _mounted) -> list[str]:
    """The folders of the groups that vtopo put the process `pid` in, if any.

    Who asks for many processes has `look` remember what it found: it reads mounts, and each host has some.
    """
    ours = [(names, path) for names, path in groups_of(pid) if is_ours(path)]
    found: list[str] = []
    for h in look() if ours else ():
        found += [folder_of(h, path) for names, path in ours if matching(h, names)]
        if len(found) == len(ours):
            break
    return found


def is_ours(path: str) -> bool:
    """Whether a group, as /proc/PID/cgroup names it, is one of a lab's: /vtopo/LAB.lab/… or /…/vtopo-LAB.scope/…"""
    parts = path.split("/")
    return any(
        (above == "vtopo" and name.endswith(".lab"))
        or (above == "system.slice" and name.startswith("vtopo-") and name.endswith(".scope"))
        for above, name in pairwise(parts)
    )


def doors(pid: int) -> list[int]:
    """Descriptors of the groups that vtopo put the process `pid` in, if any: who writes 0 there is in them.

    To be opened before another mount namespace is entered, where /sys/fs/cgroup is another one's.
    """
    opened: list[int] = []
    try:
        for folder in folders(pid):
            opened.append(open_door(folder))
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
    return opened


def text_of(path: str) -> str:
    """A control file, stripped; empty if there is none."""
    try:
        with open(path, encoding="utf-8") as f:  # noqa: PTH123
            return f.read().strip()
    except OSError:
        return ""
