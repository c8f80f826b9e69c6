"""What the kernel says of a process' control groups, on cgroup v1 and v2, found without vtopo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

V1_NAMES = {"io": "blkio"}


def mounts() -> dict[str, tuple[int, Path]]:
    """Controller (by its own name) to the version and place of its hierarchy; `devices` of v2 is anywhere in it."""
    found: dict[str, tuple[int, Path]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        path = Path(left.split()[4])
        fstype, _, options = right.split()[:3]
        if fstype == "cgroup":
            found.update(dict.fromkeys(options.split(","), (1, path)))
        elif fstype == "cgroup2":
            names = (path / "cgroup.controllers").read_text().split()
            found = dict.fromkeys([*names, "", "devices"], (2, path)) | found
    return found


def version(controller: str) -> int:
    """The version of the hierarchy with a controller (by its v2 name); 0 if there is none."""
    found = mounts()
    return found.get(V1_NAMES.get(controller, controller), found.get(controller, (0, None)))[0]


@dataclass(frozen=True)
class Groups:
    """The control groups of a process."""

    pid: int

    def folder(self, controller: str) -> Path:
        """Where its group is in the hierarchy of a controller (by its v2 name)."""
        found = mounts()
        own = V1_NAMES.get(controller, controller)
        number, top = found[own] if own in found else found[controller]
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            ident, names, path = line.split(":", 2)
            if (number == 2 and ident == "0") or (number == 1 and own in names.split(",")):
                return top / path.lstrip("/")
        raise AssertionError(controller)

    def file(self, controller: str, v1: str, v2: str | None = None) -> str:
        """The text of a file of its group, which has another name in each version."""
        name = v1 if version(controller) == 1 else v2 or v1
        return (self.folder(controller) / name).read_text().strip()

    def cpu_seconds(self) -> float:
        """CPU time of all that ever ran in the group."""
        if "cpuacct" in mounts():
            return int((self.folder("cpuacct") / "cpuacct.usage").read_text()) / 1e9
        words = (self.folder("") / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6
