"""Takes a snapshot of all VMs of a running lab at one moment, and brings a lab's VMs back to one.

All guests are held while they are saved, so what one has sent and another not yet received is all that is not in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from vtopo.backends import diskfolder, snapshots
from vtopo.backends.base import Backend, BackendError, Failed, Transfer
from vtopo.backends.domains import STAGED, DomainBackend, nvram
from vtopo.backends.later import loaded
from vtopo.backends.snapshots import Base, SavedVm, Snapshot, Snapshots
from vtopo.compile.resources import Disk, Domain, Power, Resource, Tap
from vtopo.plan.diff import changes
from vtopo.run.backends import Backends
from vtopo.run.copying import Tell, silent, told, written
from vtopo.run.interrupt import Interrupts, deferred
from vtopo.state.folder import StateDir
from vtopo.state.spec import from_text, to_text
from vtopo.state.store import Records, Store

_STAGE = "{file}" + STAGED


def take(
    state: StateDir,
    lab: str,
    name: str,
    backends: Sequence[Backend],
    lock: AbstractContextManager[None],
    tell: Tell = silent,
) -> Snapshot:
    """Save all VMs of a lab, under its `lock`, as the snapshot `name`; they go on as they were.

    `tell` hears how far that has come.

    BackendError if it has none, one of them is off or cannot be saved, or somebody interrupts: then nothing is left.
    FileNotFoundError without records.
    """
    with lock, deferred() as interrupts:
        with Store.open(state, lab) as store:
            vms = _Vms(lab, store.load(), backends)
        vms.check()
        kept = Snapshots(lab)
        with kept.draft(name) as commit, vms.held() as running:
            with told("saving", tell, kept.place.iterdir, vms.most()):
                saved = vms.each(lambda domain: vms.save(domain, domain in running, kept.place), interrupts)
            return commit(tuple(saved))


def restore(
    state: StateDir,
    lab: str,
    name: str,
    backends: Sequence[Backend],
    lock: AbstractContextManager[None],
    tell: Tell = silent,
) -> Snapshot:
    """Bring the VMs of a lab, under its `lock`, back to a snapshot; their links stay. `tell` hears how far that is.

    BackendError if it is of other VMs than the lab has, before anything is touched; later, with what is left to do.
    FileNotFoundError without records.
    """
    with lock, deferred() as interrupts:
        with Store.open(state, lab) as store:
            vms = _Vms(lab, store.load(), backends)
        snapshot = Snapshots(lab).find(name)
        vms.compare(snapshot)
        try:
            with told("copying disks", tell, vms.staged, snapshot.size):
                vms.each(lambda domain: vms.stage(domain, snapshot), interrupts)
        except BaseException:
            vms.unstage()
            raise
        try:
            # Nothing stops half-way: with some guests of now and some of then, the lab would be neither.
            vms.loading(snapshot, tell)
            for vm in snapshot.vms:
                if vm.running:
                    vms.let_run(vm.node)
        except BackendError as e:
            again = f"`vtopo restore {name}` tries again, `vtopo up` starts anew what is off"
            raise BackendError(f"not all VMs could be restored: {e}; {again}") from e
        return snapshot


class _Vms:
    """The VMs of a lab, and what to do with each."""

    def __init__(self, lab: str, records: Records, backends: Sequence[Backend]) -> None:
        self._lab = lab
        self._records = records
        self._known = Backends(backends)
        self._domains = {r.node: r for r in records.resources.values() if isinstance(r, Domain)}
        backend = loaded(self._known.of(Domain.kind))
        if not self._domains:
            raise BackendError(f"{lab} has no VMs; of hosts and containers there are no snapshots")
        assert isinstance(backend, DomainBackend)
        self._backend = backend

    def check(self) -> None:
        """BackendError if a VM cannot be saved."""
        for domain in self._domains.values():
            self._backend.is_running(domain)
            if given := next((nic.name for nic in domain.nics if nic.passthrough or nic.vf_of), None):
                raise BackendError(
                    f"`{domain.node}` cannot be saved: {given} is a device of the machine's, whose state nobody knows"
                )

    @contextlib.contextmanager
    def held(self) -> Iterator[frozenset[Domain]]:
        """All of them held, and afterwards as they were; those that ran."""
        running = frozenset(d for d in self._domains.values() if self._backend.is_running(d))
        try:
            for domain in running:
                self._power(domain, "paused")
            yield running
        finally:
            for domain in running:
                self._power(domain, "running")

    def _power(self, domain: Domain, state: str) -> None:
        self._make(
            [
                Power(
                    id=f"{domain.node}/power",
                    name=domain.name,
                    state="running" if state == "running" else "paused",
                )
            ]
        )

    def let_run(self, node: str) -> None:
        """Let a guest run."""
        self._power(self._domains[node], "running")

    def each(
        self, work: Callable[[Domain], SavedVm | None], interrupts: Interrupts | None = None
    ) -> list[SavedVm]:
        """What comes of each, as many at once as there are CPUs; BackendError if one fails or somebody interrupts."""

        def unless_interrupted(domain: Domain) -> SavedVm | None:
            if interrupts is not None and interrupts.asked:
                raise BackendError("interrupted; all is as it was before")
            try:
                return work(domain)
            except OSError as e:
                raise BackendError(f"{domain.node}: {e.strerror} ({e.filename})") from e

        with ThreadPoolExecutor(os.cpu_count() or 1, "vtopo-snapshot") as pool:
            done = list(pool.map(unless_interrupted, self._domains.values()))
        return [vm for vm in done if vm is not None]

    # To a snapshot

    def most(self) -> int:
        """Bytes that saving them takes at most."""
        memory = sum(domain.memory.size for domain in self._domains.values()) * 1024
        return memory + written(
            self._backend.folder.file(f) for d in self._domains.values() for f in self._files(d)
        )

    def save(self, domain: Domain, running: bool, place: Path) -> SavedVm:
        """Write one that is held into the folder of a snapshot."""
        disks = [r for r in self._records.resources.values() if isinstance(r, Disk) and r.id in domain.needs]
        bases = tuple(Base.of(disk.base) for disk in disks if disk.base is not None)
        saved = SavedVm(domain.node, running, to_text(domain), tuple(self._files(domain)), bases)
        self._backend.save(domain, place / saved.memory)
        for file in saved.files:
            snapshots.copy(self._backend.folder.file(file), place / file)
        return saved

    def _files(self, domain: Domain) -> Iterator[str]:
        """What a guest may have written to."""
        yield from (drive.file for drive in domain.drives if not drive.seed)
        if domain.firmware == "uefi":
            yield nvram(domain.node)

    # And back

    def compare(self, snapshot: Snapshot) -> None:
        """BackendError if the VMs are others, or stand over other images."""
        then, now = {vm.node for vm in snapshot.vms}, set(self._domains)
        if then != now:
            differ = ", ".join(sorted(then ^ now))
            raise BackendError(f"{self._lab} has other VMs than its snapshot `{snapshot.name}`: {differ}")
        for vm in snapshot.vms:
            for change in changes(from_text(Domain.kind, vm.spec), self._domains[vm.node]):
                if change.field.startswith(("tune.", "ssh.")):
                    continue  # what `up` changes in a running one
                raise BackendError(
                    f"`{vm.node}` is another machine than in the snapshot `{snapshot.name}`: {change}; "
                    "`vtopo up` with the lab's text of then, and restore again"
                )
            for base in vm.bases:
                self._compare_base(vm, base)

    def _compare_base(self, vm: SavedVm, base: Base) -> None:
        try:
            same = Base.of(base.path) == base
        except OSError:
            same = False
        if not same:
            raise BackendError(
                f"the image {base.path} has changed since the snapshot: `{vm.node}`'s disk would make no sense over it"
            )

    def stage(self, domain: Domain, snapshot: Snapshot) -> None:
        """Copy what will be its disks beside them, so that a full disk is found out while all still runs."""
        for file in self._files(domain):
            target = self._backend.folder.file(_STAGE.format(file=file))
            snapshots.copy(snapshot.folder / file, target)
            diskfolder.keep(target, diskfolder.kept(self._backend.folder.file(file)))

    def staged(self) -> Iterator[Path]:
        """Those copies, as far as they are there."""
        for domain in self._domains.values():
            yield from (self._backend.folder.file(_STAGE.format(file=file)) for file in self._files(domain))

    def unstage(self) -> None:
        """Remove those copies."""
        for file in self.staged():
            with contextlib.suppress(OSError):
                file.unlink()

    def loading(self, snapshot: Snapshot, tell: Tell) -> None:
        """Load all of them."""
        over: list[str] = []

        def load(domain: Domain) -> None:
            self.load(domain, snapshot)
            over.append(domain.node)
            tell(Transfer("starting", len(over), len(self._domains), False))

        tell(Transfer("starting", 0, len(self._domains), False))
        self.each(load)

    def load(self, domain: Domain, snapshot: Snapshot) -> None:
        """Switch it off, put its disks in place, and start it, held, where it was; its taps are joined again."""
        self._backend.switch_off(domain, gently=False)
        for file in self._files(domain):
            self._backend.folder.file(_STAGE.format(file=file)).rename(self._backend.folder.file(file))
        vm = next(vm for vm in snapshot.vms if vm.node == domain.node)
        self._backend.load(domain, snapshot.folder / vm.memory)
        self._make(
            [r for r in self._records.resources.values() if isinstance(r, Tap) and domain.id in r.needs]
        )

    def _make(self, batch: Sequence[Resource]) -> None:
        for outcome in self._known.of(batch[0].kind).create(batch, self._records.handles) if batch else ():
            if isinstance(outcome, Failed):
                raise BackendError(outcome.reason)
