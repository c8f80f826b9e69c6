"""The backend of hugepages: pages taken from the machine for a lab's VMs, and given back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vtopo.backends import folders
from vtopo.backends.base import Done, Failed, Handle, Outcome, Present, Weigh
from vtopo.compile.resources import HugePages, Resource
from vtopo.values import dataclass

_NOTES = Path("/run/vtopo-hugepages")
"""A note for each reservation, so that it is given back though all records are lost; it ends with the boot."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The machine's huge pages of one size (in KiB), of one NUMA node or of all."""

    size: int
    numa_node: int | None = None
    sys: Path = Path("/sys")

    @property
    def _folder(self) -> Path:
        if self.numa_node is None:
            return self.sys / f"kernel/mm/hugepages/hugepages-{self.size}kB"
        return self.sys / f"devices/system/node/node{self.numa_node}/hugepages/hugepages-{self.size}kB"

    def exists(self) -> bool:
        """Whether the machine has pages of that size there."""
        return self._folder.is_dir()

    def total(self) -> int:
        """How many there are, in use or not."""
        return int((self._folder / "nr_hugepages").read_text())

    def free(self) -> int:
        """How many nobody uses or has been promised."""
        free = int((self._folder / "free_hugepages").read_text())
        reserved = self._folder / "resv_hugepages"  # only the whole machine's
        return free - int(reserved.read_text()) if reserved.exists() else free

    def resize(self, count: int) -> int:
        """Ask for that many; how many there are then: the kernel takes what memory it finds in one piece."""
        (self._folder / "nr_hugepages").write_text(str(max(count, 0)))
        return self.total()


class HugePagesBackend:
    """One lab's reservations: what it takes is on top of what the machine has reserved already."""

    kinds = frozenset({"hugepages"})
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, lab: str, notes: Path = _NOTES, sys: Path = Path("/sys")) -> None:
        self.lab = lab
        self._notes = notes
        self._sys = sys

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """A reservation is there if its note is, and the machine has at least as many pages."""
        found: dict[str, Present] = {}
        for r in recorded:
            if isinstance(r, HugePages) and self._note(r.id).exists():
                pool = self._pool(r)
                if pool.exists() and pool.total() >= r.count:
                    found[r.id] = Present(r)
        return found

    def _pool(self, r: HugePages) -> Pool:
        return Pool(r.size, r.numa_node, self._sys)

    def _note(self, id_: str) -> Path:
        return self._notes / f"{self.lab}:{id_.replace('/', ':')}"

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Pages of a size, or a NUMA node, that the machine does not have; more memory than is available."""
        wanted: Counter[int] = Counter()
        for r in batch:
            if not isinstance(r, HugePages):
                continue
            if not self._pool(r).exists():
                yield Failed(r.id, self._no_pool(r))
                continue
            wanted[r.size] += r.count
            if (missing := self._missing(r.size, wanted[r.size])) > 0:
                yield Failed(
                    r.id,
                    f"{wanted[r.size]} huge pages of {_size(r.size)} are wanted, and {missing} of them cannot be had: "
                    f"the machine has memory for {wanted[r.size] - missing}",
                )

    def _missing(self, size: int, count: int) -> int:
        """How many of `count` the machine has no memory for, whatever is free in one piece."""
        text = Path("/proc/meminfo").read_text()
        available = next(
            int(line.split()[1]) for line in text.splitlines() if line.startswith("MemAvailable:")
        )
        return count - available // size

    def _no_pool(self, r: HugePages) -> str:
        if r.numa_node is not None and not (self._sys / f"devices/system/node/node{r.numa_node}").exists():
            return f"this machine has no NUMA node {r.numa_node}"
        names = (path.name for path in (self._sys / "kernel/mm/hugepages").glob("hugepages-*kB"))
        sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names)
        has = f"it has them of {' and '.join(map(_size, sizes))}" if sizes else "its kernel has none at all"
        return f"this machine has no huge pages of {_size(r.size)}; {has}"

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Take pages, or give back what was had of them and say how many are missing."""
        for r in batch:
            if isinstance(r, HugePages):
                try:
                    yield self._take(r)
                except OSError as e:
                    yield Failed(r.id, f"{e.strerror} ({e.filename})", e.errno or 0)

    def _take(self, r: HugePages) -> Outcome:
        os.close(folders.make(self._notes))
        pool = self._pool(r)
        with folders.locked(self._notes):
            self._give_back(self._note(r.id))
            before = pool.total()
            note = {"size": r.size, "numa_node": r.numa_node, "count": r.count, "before": before}
            self._note(r.id).write_text(json.dumps(note))
            got = pool.resize(before + r.count) - before
            if got >= r.count:
                self._note(r.id).write_text(json.dumps({**note, "before": None}))
                return Done(r.id)
            pool.resize(before)
            self._note(r.id).unlink()
        folders.remove(self._notes)
        return Failed(
            r.id,
            f"{r.count} huge pages of {_size(r.size)} are wanted, and {r.count - got} of them are missing: "
            "memory is too full or in too many pieces. Free some, or reserve them when the machine boots "
            f"(hugepagesz={_size(r.size)[:-2]} hugepages={before + r.count} on the kernel's command line)",
            errno.ENOMEM,
        )

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Nothing of a reservation changes in place."""
        for _, new in batch:
            yield Failed(new.id, "a reservation of huge pages cannot be changed in place", errno.EOPNOTSUPP)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Give pages back."""
        for r in batch:
            try:
                self._give_back_locked(self._note(r.id))
                yield Done(r.id)
            except OSError as e:
                yield Failed(r.id, f"{e.strerror} ({e.filename})", e.errno or 0)

    def _give_back_locked(self, note: Path) -> bool:
        if not self._notes.is_dir():
            return False
        with folders.locked(self._notes):
            found = self._give_back(note)
        folders.remove(self._notes)
        return found

    def _give_back(self, note: Path) -> bool:
        """Give back what a note says was taken, and forget it; the lock is held."""
        try:
            said = json.loads(note.read_text())
        except FileNotFoundError:
            return False
        except ValueError:  # killed while it wrote: nothing was taken yet
            note.unlink()
            return True
        pool = Pool(said["size"], said["numa_node"], self._sys)
        with contextlib.suppress(FileNotFoundError):
            total = pool.total()
            # With a number before, the maker was killed before or after it took them: the total tells which.
            if said["before"] is None or total >= said["before"] + said["count"]:
                pool.resize(total - said["count"])
        note.unlink()
        return True

    def traces(self) -> Sequence[str]:
        """The lab's notes."""
        return [f"huge pages {note.name}" for note in self._own_notes()]

    def _own_notes(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(note for note in self._notes.iterdir() if note.name.startswith(f"{self.lab}:"))
        return []

    def sweep(self) -> Sequence[str]:
        """Give back what the notes say."""
        return [f"huge pages {note.name}" for note in self._own_notes() if self._give_back_locked(note)]


def _size(kib: int) -> str:
    return f"{kib // 1048576}GiB" if kib % 1048576 == 0 else f"{kib // 1024}MiB"
