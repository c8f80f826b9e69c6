"""What a lab shows on the machine: its processes, names in /run/netns, mounts and links, and whether they are gone."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.processes import descendants

_MIB = 1024.0


@dataclass(frozen=True)
class Traces:
    """A look at the machine; processes are only those that came from the benchmark."""

    processes: frozenset[int]
    names: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]

    @classmethod
    def look(cls) -> "Traces":
        """What is there now."""
        return cls(
            frozenset(descendants()),
            frozenset(_listing("/run/netns")),
            frozenset(_mounts()),
            frozenset(_listing("/sys/class/net")),
        )

    def since(self, before: "Traces") -> "Traces":
        """What appeared after `before`."""
        return Traces(
            self.processes - before.processes,
            self.names - before.names,
            self.mounts - before.mounts,
            self.links - before.links,
        )

    def left(self) -> list[str]:
        """Which of these are still on the machine, in words; empty when nothing is."""
        now = Traces.look()
        kinds = (
            ("processes", self.processes & now.processes),
            ("names in /run/netns", self.names & now.names),
            ("mounts", self.mounts & now.mounts),
            ("links", self.links & now.links),
        )
        return [f"{len(there)} {kind}" for kind, there in kinds if there]

    def inits(self) -> list[int]:
        """Those of the processes that are pid 1 of a pid namespace of their own."""
        return [pid for pid in self.processes if _is_init(pid)]


def pss_mebibytes(pids: list[int]) -> float:
    """The proportional set size of these processes together."""
    return sum(_pss_kibibytes(pid) for pid in pids) / _MIB


def _is_init(pid: int) -> bool:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                ids = line.split()[1:]
                return len(ids) > 1 and ids[-1] == "1"
    return False


def _pss_kibibytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _listing(folder: str) -> list[str]:
    with suppress(FileNotFoundError):
        return [entry.name for entry in Path(folder).iterdir()]
    return []


def _mounts() -> list[str]:
    """Each mount by its id, its place and its source."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        mounts.append(f"{fields[0]} {fields[4]} {line.rpartition(' - ')[2]}")
    return mounts
