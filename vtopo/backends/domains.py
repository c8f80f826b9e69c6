"""The backend of domain and power: virtual machines of libvirt's QEMU driver, transient and marked as ours."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from vtopo.backends import diskfolder, guests
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Watch, Weigh, Weight
from vtopo.backends.console_log import ConsoleLog
from vtopo.backends.diskfolder import DiskFolder, known_hosts
from vtopo.backends.hypervisor import Hypervisor, library, unreachable_in_words, words
from vtopo.backends.kvm import kvm
from vtopo.backends.snapshots import Snapshots
from vtopo.compile.domain_names import domain_name
from vtopo.compile.resources import Capacity, Domain, GuestReady, Power, Resource

if TYPE_CHECKING:
    import libvirt

    from vtopo.backends.domain_facts import DomainFacts

SHUTDOWN = 20.0
"""Seconds that a guest whose disk is kept may take to shut down by itself before it is switched off."""

STAGED = ".restoring"
"""The end of the name of a file that is to take another's place."""

_DEFAULT_SHARES = 1024


class DomainBackend:
    """The VMs of one lab."""

    kinds = frozenset({"capacity", "domain", "power", "guest-ready"})
    slow: Mapping[str, Weigh] = MappingProxyType(
        {
            "domain": lambda r: _weight(r),
            "power": lambda r: Weight(0.1),
            # To wait costs little; that the guest boots meanwhile is what its power is for.
            "guest-ready": lambda r: Weight(1 / 32),
        }
    )

    def __init__(
        self, lab: str, hypervisor: Hypervisor, folder: Path | None = None, watch: Watch | None = None
    ) -> None:
        self.lab = lab
        self.watch = watch or Watch()
        self.folder = DiskFolder(lab, folder)
        self._hypervisor = hypervisor
        self._choosing = threading.Lock()  # two domains must not choose the same virtual function

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """The lab's domains by their marks, each as libvirt describes it now.

        One that shut down is gone, and so is one whose guest's kernel has panicked: nothing brings that back.
        """
        if not recorded:
            return {}
        with unreachable_in_words(self._hypervisor.uri):
            domains = {facts.node: (d, facts) for d, facts in self._own() if not _has_crashed(d)}
            found: dict[str, Present] = {}
            machine = frozenset(range(self._hypervisor.connection().getInfo()[2]))
            for r in recorded:
                if isinstance(r, Capacity | GuestReady):  # what was waited for once is over
                    found[r.id] = Present(r)
                elif isinstance(r, Domain) and r.node in domains:
                    found[r.id] = Present(domains[r.node][1].spec(r, machine))
                elif isinstance(r, Power):
                    held = next((d for d, _ in domains.values() if d.name() == r.name), None)
                    if held is not None:
                        state: Literal["running", "paused"] = "running" if _runs(held) else "paused"
                        found[r.id] = Present(dataclasses.replace(r, state=state))
        return found

    def crashed(self) -> frozenset[str]:
        """The lab's VMs whose guests' kernels have panicked, and that are kept as they are to be looked at."""
        with unreachable_in_words(self._hypervisor.uri):
            return frozenset(facts.node for domain, facts in self._own() if _has_crashed(domain))

    def _own(self) -> Iterator[tuple[libvirt.virDomain, DomainFacts]]:
        for domain in self._hypervisor.connection().listAllDomains():
            named = domain.name().startswith(domain_name(self.lab, ""))
            if named and (facts := _facts(domain)) and facts.lab == self.lab:
                yield domain, facts

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """What this machine or its libvirt cannot do of these domains, as far as it can be known beforehand."""
        from vtopo.backends.domain_checks import Checks, exceeded

        yield from (Failed(r.id, reason) for r in batch if isinstance(r, Capacity) for reason in exceeded(r))
        domains = [r for r in batch if isinstance(r, Domain)]
        if not domains:
            return
        try:
            checks = Checks(self.lab, self._hypervisor)
        except BackendError as e:
            yield from (Failed(r.id, str(e)) for r in domains)
            return
        for r in domains:
            yield from (Failed(r.id, reason) for reason in checks.reasons(r))

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Start domains, which hold still; let those run whose power is made; wait until guests are ready."""
        ready = [r for r in batch if isinstance(r, GuestReady)]
        yield from (self._wait(r, handles) for r in ready)
        yield from self._each([r for r in batch if r not in ready], self._create)

    def _wait(self, r: GuestReady, handles: Mapping[str, Handle]) -> Outcome:
        from vtopo.backends.guest_readiness import GuestWaiting

        log = ConsoleLog(self.folder.file(r.console))
        try:
            return GuestWaiting(self.lab, self._hypervisor, self.watch.stop).outcome(r, log, handles)
        except BackendError as e:
            return Failed(r.id, str(e))

    def _create(self, r: Resource) -> str | None:
        if isinstance(r, Domain):
            return self._define(r)
        return self._set_power(r) if isinstance(r, Power) else None

    def _each(self, batch: Sequence[Resource], work: Callable[[Resource], str | None]) -> Iterator[Outcome]:
        return (_outcome(work, r) for r in batch)

    def _define(self, r: Resource) -> str | None:
        assert isinstance(r, Domain)
        from vtopo.backends.domain_checks import free_functions

        libvirt = library()
        connection = self._hypervisor.connection()
        if (there := _lookup(connection, r.name)) is not None:
            facts = _facts(there)
            if facts is None or (facts.lab, facts.node) != (self.lab, r.node):
                return f"libvirt has a domain {r.name} that is not vtopo's"
            _destroy(there)
        if r.console or r.firmware == "uefi":
            self.folder.make()
            self._forget_host_key(r)
        try:
            with self._choosing if any(nic.vf_of for nic in r.nics) else contextlib.nullcontext():
                xml = self.xml(r, free_functions(connection, r))
                connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        except libvirt.libvirtError as e:
            return self._not_started(r, connection, words(e))
        return None

    def _not_started(self, r: Domain, connection: libvirt.virConnect, why: str) -> str:
        """Leave nothing of a start that failed, even if libvirt died of it; the reason."""
        if self._hypervisor.is_alive(connection):
            self._forget(r.node, r.console)
            return why
        gone = f"libvirt went away in the middle of the start ({why}); look whether it runs, and try again"
        return self._end(r, gone) or gone

    def xml(self, r: Domain, functions: Mapping[str, str]) -> str:
        """The domain's XML on this machine."""
        from vtopo.compile.domain_xml import domain_xml

        return domain_xml(
            r,
            self.lab,
            str(self.folder.path),
            accel=accel(r),
            owner="" if _passes_through(r) else self._hypervisor.owner(),
            functions=functions,
        )

    def _set_power(self, r: Resource) -> str | None:
        assert isinstance(r, Power)
        domain = _lookup(self._hypervisor.connection(), r.name)
        if domain is None:
            return f"libvirt has no domain {r.name}: it ended before it was to run"
        if r.state == "running" and not _runs(domain):
            domain.resume()
        elif r.state == "paused" and _runs(domain):
            domain.suspend()
        return None

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Shares, quota, pins and NICs of a running domain; whether it runs."""
        pairs = {new.id: (old, new) for old, new in batch}
        yield from self._each([new for _, new in batch], lambda r: self._update(*pairs[r.id]))

    def _update(self, old: Resource, new: Resource) -> str | None:
        if isinstance(new, Power):
            return self._set_power(new)
        if isinstance(new, Capacity):
            return None
        assert isinstance(old, Domain)
        assert isinstance(new, Domain)
        libvirt = library()
        domain = _lookup(self._hypervisor.connection(), new.name)
        if domain is None:
            return f"libvirt has no domain {new.name}"
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        if old.tune.shares != new.tune.shares:
            domain.setSchedulerParametersFlags({"cpu_shares": new.tune.shares or _DEFAULT_SHARES}, live)
        if old.tune.quota != new.tune.quota:
            from vtopo.compile.domain_xml import PERIOD

            quota = {"global_period": PERIOD, "global_quota": new.tune.quota or -1}
            domain.setSchedulerParametersFlags(quota, live)
        if old.tune.pins != new.tune.pins:
            self._pin(domain, new)
        if old.nics != new.nics:
            from vtopo.backends.plugging import replug

            return replug(domain, domain_name(self.lab, new.node), old, new)
        return None

    def _pin(self, domain: libvirt.virDomain, r: Domain) -> None:
        from vtopo.backends.domain_facts import cpus

        libvirt = library()
        count = self._hypervisor.connection().getInfo()[2]
        pins = {pin.vcpu: cpus(pin.cpus) for pin in r.tune.pins}
        for vcpu in range(r.vcpus.count):
            allowed = pins.get(vcpu) or cpus(r.tune.cpuset) or frozenset(range(count))
            domain.pinVcpuFlags(
                vcpu, tuple(cpu in allowed for cpu in range(count)), libvirt.VIR_DOMAIN_AFFECT_LIVE
            )

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Switch domains off, with their logs; those whose disk is kept may shut down first."""
        yield from self._each(batch, self._delete)

    def _delete(self, r: Resource) -> str | None:
        if not isinstance(r, Domain):
            return None  # power ends with its domain
        try:
            domain = _lookup(self._hypervisor.connection(), r.name)
        except BackendError as e:
            return self._end(r, str(e))
        if domain is not None:
            if self._is_strange(domain):
                return None  # somebody else's by that name
            if any(diskfolder.kept(self.folder.file(drive.file)) for drive in r.drives):
                _shut_down(domain)
            try:
                _destroy(domain)
            except library().libvirtError as e:
                return self._end(r, words(e))
        self._forget(r.node, r.console)
        return None

    def save(self, r: Domain, target: Path) -> None:
        """Write a guest's memory and the state of its devices to a file; it goes on as it was, running or held.

        BackendError if libvirt does not do it.
        """
        libvirt = library()
        with unreachable_in_words(self._hypervisor.uri):
            domain = _lookup(self._hypervisor.connection(), r.name)
            if domain is None:
                raise BackendError(f"`{r.node}` has ended meanwhile")
            disks = [t.get("dev", "") for t in _tree(domain).iterfind("devices/disk/target")]
            from vtopo.compile.domain_xml import snapshot_xml

            xml = snapshot_xml(str(target), disks)
            domain.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA)

    def load(self, r: Domain, source: Path) -> None:
        """Start a domain, held, from what `save` wrote; BackendError if libvirt does not do it."""
        libvirt = library()
        with unreachable_in_words(self._hypervisor.uri):
            connection = self._hypervisor.connection()
            self._forget_host_key(r)
            connection.restoreFlags(str(source), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)

    def _forget_host_key(self, r: Domain) -> None:
        """What starts, or is brought back, may have another."""
        self.folder.file(known_hosts(r.node)).unlink(missing_ok=True)

    def is_running(self, r: Domain) -> bool:
        """Whether its guest runs; BackendError if the domain is not there."""
        with unreachable_in_words(self._hypervisor.uri):
            domain = _lookup(self._hypervisor.connection(), r.name)
            if domain is None or self._is_strange(domain) or _has_crashed(domain):
                raise BackendError(f"`{r.node}` is off; `vtopo node {r.node} start` starts it")
            return _runs(domain)

    def _is_strange(self, domain: libvirt.virDomain) -> bool:
        facts = _facts(domain)
        return facts is not None and facts.lab != self.lab

    def switch_off(self, r: Domain, *, gently: bool) -> None:
        """End a guest that is to be started again: its console's log and its firmware's variables stay.

        Gently, it may shut down first, for as long as SHUTDOWN. BackendError if libvirt does not do it.
        """
        with unreachable_in_words(self._hypervisor.uri):
            domain = _lookup(self._hypervisor.connection(), r.name)
            if domain is None or self._is_strange(domain):
                return
            if gently:
                _shut_down(domain)
            _destroy(domain)

    def _end(self, r: Domain, why: str) -> str | None:
        """End its QEMU without libvirt, which does not answer; the reason if it will not go."""
        if not guests.end_orphans(self.lab, r.node):
            return f"its QEMU does not end, and {why}"
        self._forget(r.node, r.console)
        return None

    def _forget(self, node: str, console: str) -> None:
        """Remove what a domain leaves: its console's log, with the older parts, its firmware's variables, its host
        key, and what a restore that was killed has not put in place."""
        for name in self.folder.names():
            stale = name.startswith(f"{node}.") and name.endswith(STAGED)
            if stale or name in (nvram(node), known_hosts(node)) or (console and name.startswith(console)):
                self.folder.remove(name)
        Snapshots(self.lab, self.folder.path.parent).clear()

    def traces(self) -> Sequence[str]:
        """The lab's QEMU processes."""
        return guests.traces(self.lab, self._hypervisor.run_folder)

    def sweep(self) -> Sequence[str]:
        """End the lab's QEMUs, by libvirt if it answers, so that it forgets them."""
        found = list(guests.of_lab(self.lab, self._hypervisor.run_folder))
        if not found:
            return []
        with contextlib.suppress(BackendError):
            for domain, _ in list(self._own()):
                with contextlib.suppress(library().libvirtError):
                    _destroy(domain)
        if stuck := guests.kill(found):
            raise BackendError(
                f"lab {self.lab}: the QEMU of {stuck[0].node}, pid {stuck[0].handle.pid}, does not end"
            )
        return [f"VM {guest.node}" for guest in found]


def nvram(node: str) -> str:
    """The file with the variables of a VM's firmware, as domain.xml.j2 names it."""
    return f"{node}.nvram"


def accel(r: Domain) -> Literal["kvm", "tcg"]:
    """What runs the guest on this machine: for `auto` KVM where it really works."""
    if r.accel == "auto":
        return "kvm" if kvm().works else "tcg"
    return r.accel


def _weight(r: Resource) -> Weight:
    """A start keeps libvirt waiting for QEMU more than a CPU busy; huge pages are no memory to be had any more."""
    taken = 0 if not isinstance(r, Domain) or r.memory.pages else r.memory.size * 1024
    return Weight(0.25, taken)


def _passes_through(r: Domain) -> bool:
    """Whether libvirt has to give QEMU rights to devices."""
    return any(nic.passthrough or nic.vf_of for nic in r.nics)


def _outcome(work: Callable[[Resource], str | None], r: Resource) -> Outcome:
    """Done unless `work` gives a reason, or fails with one."""
    try:
        reason = work(r)
    except (BackendError, ValueError) as e:
        return Failed(r.id, str(e))
    except OSError as e:
        where = f" ({e.filename})" if e.filename else ""
        return Failed(r.id, f"{e.strerror}{where}", e.errno or 0)
    except library().libvirtError as e:
        return Failed(r.id, words(e))
    return Done(r.id) if reason is None else Failed(r.id, reason, errno.EBUSY)


def _lookup(connection: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    libvirt = library()
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as e:
        if e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _tree(domain: libvirt.virDomain) -> ElementTree.Element:
    return ElementTree.fromstring(domain.XMLDesc())  # noqa: S314  libvirt's own words


def _facts(domain: libvirt.virDomain) -> DomainFacts | None:
    """None if it has ended meanwhile."""
    from vtopo.backends.domain_facts import DomainFacts

    libvirt = library()
    try:
        return DomainFacts.parse(domain.XMLDesc())
    except libvirt.libvirtError as e:
        if e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _runs(domain: libvirt.virDomain) -> bool:
    libvirt = library()
    state: Any = domain.state()[0]
    return bool(state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED))


def _has_crashed(domain: libvirt.virDomain) -> bool:
    libvirt = library()
    try:
        return bool(domain.state()[0] == libvirt.VIR_DOMAIN_CRASHED)
    except libvirt.libvirtError as e:
        if e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return True  # it ended meanwhile
        raise


def _shut_down(domain: libvirt.virDomain) -> None:
    """Ask the guest to, and wait a while: what it has not written yet would be lost."""
    libvirt = library()
    with contextlib.suppress(libvirt.libvirtError):
        if not _runs(domain):
            return
        domain.shutdown()
        end = time.monotonic() + SHUTDOWN
        while domain.isActive() and time.monotonic() < end:
            time.sleep(0.1)


def _destroy(domain: libvirt.virDomain) -> None:
    """Switch it off; one that has ended is done."""
    libvirt = library()
    try:
        domain.destroy()
    except libvirt.libvirtError as e:
        if e.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
