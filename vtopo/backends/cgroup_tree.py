"""Where in the machine's cgroup hierarchies a lab's groups are, and how groups are made, read and written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator

from vtopo.backends.cgroup_paths import Hierarchy, hierarchies, text_of

PARENT = "vtopo"
SLICE = "system.slice"  # where systemd keeps what the machine runs; one of our own would stay behind
HOST = ".host"
LAB = ".lab"
"""Ends of groups' names. With one no node or lab is taken for a file of its parent group, `tasks` or `cpu.max`."""

# As the folders of our groups look below a mount point.
OURS = re.compile(r"/(?:vtopo/(?P<lab>[^/]+)\.lab|system\.slice/vtopo-(?P<scope>[^/]+)\.scope)")
_V1_NAMES = {"io": "blkio"}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_systemds() -> bool:
    """Whether systemd owns the v2 tree, so that one asks it for a part of it (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")  # noqa: PTH112


class Tree:
    """Where the control groups of `lab` are: a folder in each hierarchy, with a group for each host."""

    def __init__(self, lab: str, found: Iterable[Hierarchy] | None = None) -> None:
        self.lab = lab
        self.all = tuple(hierarchies() if found is None else found)
        self._of: dict[str, Hierarchy | None] = {}

    def of(self, controller: str) -> Hierarchy | None:
        """The hierarchy that has a controller, by its v2 name (or cpuacct); devices are any v2 group's."""
        if controller not in self._of:
            self._of[controller] = self._look_for(controller)
        return self._of[controller]

    def _look_for(self, controller: str) -> Hierarchy | None:
        for h in self.all:
            if (_V1_NAMES.get(controller, controller) if h.version == 1 else controller) in h.controllers:
                return h
        if controller == "devices":
            return next((h for h in self.all if h.version == 2), None)
        return None

    def version(self, controller: str) -> int:
        """1 or 2; 2 where no hierarchy has it."""
        h = self.of(controller)
        return h.version if h else 2

    def parts(self, h: Hierarchy) -> tuple[str, str]:
        """The folders that lead from a hierarchy's top to the lab's groups."""
        if h.version == 2 and is_systemds():
            return SLICE, f"vtopo-{self.lab}.scope"
        return PARENT, f"{self.lab}{LAB}"

    def base(self, h: Hierarchy) -> str:
        """The lab's folder in a hierarchy."""
        return "/".join((h.path, *self.parts(h)))

    def groups(self, h: Hierarchy) -> frozenset[str]:
        """The hosts that have a group in a hierarchy."""
        try:
            entries = os.listdir(self.base(h))  # noqa: PTH208
        except OSError:
            return frozenset()
        return frozenset(e.removesuffix(HOST) for e in entries if e.endswith(HOST))

    def make_base(self, h: Hierarchy, controllers: Iterable[str] = ()) -> int:
        """The lab's folder, made where it is missing, with v2 `controllers` for its groups; a descriptor of it."""
        for attempt in range(5):
            try:
                return self._make_base(h, sorted(controllers))
            except FileNotFoundError:  # another lab's end removed the empty parent just now
                if attempt == 4:
                    raise
        raise AssertionError("unreachable")

    def _make_base(self, h: Hierarchy, controllers: list[str]) -> int:
        folder = h.path
        for part in self.parts(h):
            above, folder = folder, f"{folder}/{part}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755)  # noqa: PTH102
            if "cpuset" in h.controllers and h.version == 1:
                inherit_cpuset(above, folder)
            if h.version == 2 and controllers:
                enable(folder, controllers)
        return os.open(folder, _FOLDER)

    def open_base(self, h: Hierarchy) -> int | None:
        """A descriptor of the lab's folder; None if it has none there."""
        try:
            return os.open(self.base(h), _FOLDER)
        except OSError:
            return None

    def tidy(self) -> None:
        """Remove the lab's folders and our own above them, as far as they are empty."""
        for h in self.all:
            folder = self.base(h)
            above = [os.path.dirname(folder)] if os.path.basename(folder).endswith(LAB) else []  # noqa: PTH119, PTH120
            for each in (f"{folder}/holder", folder, *above):
                with contextlib.suppress(OSError):
                    os.rmdir(each)  # noqa: PTH106


def enable(folder: str, controllers: Iterable[str]) -> None:
    """Have a v2 group hand controllers on to the groups in it; OSError if it may not."""
    missing = [c for c in controllers if c not in text_of(f"{folder}/cgroup.subtree_control").split()]
    if missing:
        write(f"{folder}/cgroup.subtree_control", " ".join(f"+{c}" for c in missing))


def inherit_cpuset(above: str, folder: str) -> None:
    """Give a v1 cpuset the CPUs and memory nodes of the one above: a new one has none, and takes no process."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not text_of(f"{folder}/{file}"):
            write(f"{folder}/{file}", text_of(f"{above}/{file}"))


def write(path: str, text: str, folder: int | None = None) -> None:
    """Write a control file, in one call as the kernel wants it; an OSError names the file and the value."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    except OSError as e:
        raise OSError(e.errno, f"{os.strerror(e.errno or 0)}, writing {text!r}", path) from e
    finally:
        os.close(fd)


def read(path: str, folder: int) -> str | None:
    """A control file below the folder of a descriptor, stripped; None if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        return os.read(fd, 1 << 16).decode().strip()
    except OSError as e:
        if e.errno == errno.ENODEV:  # the group went meanwhile
            return None
        raise
    finally:
        os.close(fd)


def labs() -> Iterator[str]:
    """The labs that have a folder in any hierarchy, some more than once."""
    for h in hierarchies():
        for parent in (PARENT, SLICE):
            try:
                entries = os.listdir(f"{h.path}/{parent}")  # noqa: PTH208
            except OSError:
                continue
            for entry in entries:
                if found := OURS.fullmatch(f"/{parent}/{entry}"):
                    yield found["lab"] or found["scope"]


def traces(tree: Tree) -> list[str]:
    """A lab's groups, in words."""
    nodes = {node for h in tree.all for node in tree.groups(h)}
    return [f"cgroup {node}" for node in sorted(nodes)]
