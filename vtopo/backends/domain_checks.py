"""What a machine and its libvirt cannot do of a domain, said before anything of a lab is made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from vtopo.backends import guest_ssh, images
from vtopo.backends.domain_facts import DomainFacts, cpus
from vtopo.backends.hypervisor import Hypervisor, library
from vtopo.backends.kvm import kvm
from vtopo.compile.resources import Capacity, Domain
from vtopo.compile.resources.domains import Nic
from vtopo.lang.suggest import did_you_mean

if TYPE_CHECKING:
    import libvirt

_ARCH = "x86_64"
_MODELS = (
    *(
        "virtio",
        "e1000",
        "e1000e",
        "rtl8139",
        "igb",
        "vmxnet3",
        "pcnet",
        "ne2k_pci",
        "ne2k_isa",
        "tulip",
        "usb-net",
    ),
    *("virtio-transitional", "virtio-non-transitional", "e1000-82544gc", "e1000-82545em", "i82550", "i82551"),
    *(
        "i82557a",
        "i82557b",
        "i82557c",
        "i82558a",
        "i82558b",
        "i82559a",
        "i82559b",
        "i82559c",
        "i82559er",
        "i82562",
    ),
    *("i82801",),
)
"""NICs of QEMU for x86, by libvirt's names."""


class Checks:
    """One look at a machine, for many domains; BackendError if libvirt is out of reach."""

    def __init__(self, lab: str, hypervisor: Hypervisor, sys: Path = Path("/sys")) -> None:
        self._lab = lab
        self._owner = hypervisor.owner()
        self._connection = hypervisor.connection()
        self._sys = sys
        self._taken: set[str] = set()

    def reasons(self, r: Domain) -> Iterator[str]:
        """Each thing that stands against it, in words that say what to do."""
        yield from self._name(r)
        yield from self._accel(r)
        yield from self._machine(r)
        yield from self._cpus(r)
        yield from self._cpu_model(r)
        yield from self._memory(r)
        yield from self._boot(r)
        if r.ssh.user and (reason := guest_ssh.unusable(r.ssh)):
            yield reason
        for nic in r.nics:
            yield from self._nic(nic)

    def _name(self, r: Domain) -> Iterator[str]:
        for facts in self._domains:
            if facts.root.findtext("name") == r.name and (facts.lab, facts.node) != (self._lab, r.node):
                yield f"libvirt has a domain {r.name} that is not vtopo's; `virsh destroy {r.name}` ends it"

    @cached_property
    def _domains(self) -> list[DomainFacts]:
        found = []
        for domain in self._connection.listAllDomains():
            try:
                found.append(DomainFacts.parse(domain.XMLDesc()))
            except library().libvirtError:
                continue  # it ended meanwhile
        return found

    @cached_property
    def _capabilities(self) -> ElementTree.Element:
        return ElementTree.fromstring(self._connection.getCapabilities())  # noqa: S314  libvirt's own words

    def _accel(self, r: Domain) -> Iterator[str]:
        if r.accel == "kvm" and not (found := kvm()).works:
            yield f"`accel kvm`: KVM runs no guests here: {found.reason}. `accel auto` falls back to emulation"

    def _machine(self, r: Domain) -> Iterator[str]:
        machines = {
            machine.text or "": int(machine.get("maxCpus", "0"))
            for machine in self._capabilities.iterfind(f"guest/arch[@name='{_ARCH}']/machine")
        }
        if not machines:
            yield "libvirt has no QEMU for x86_64; install it (Debian package qemu-system-x86)"
        elif r.machine not in machines:
            likely = did_you_mean(r.machine, machines, "`qemu-system-x86_64 -machine help` lists them")
            yield f"QEMU knows no machine type {r.machine}; {likely}"
        elif 0 < machines[r.machine] < r.vcpus.count:
            yield f"{r.vcpus.count} vCPUs are more than the {machines[r.machine]} of the machine type {r.machine}"
        elif r.firmware == "uefi" and "efi" not in self._firmwares(r.machine):
            yield "libvirt finds no UEFI firmware; install it (Debian package ovmf)"

    def _firmwares(self, machine: str) -> set[str]:
        text = self._connection.getDomainCapabilities(None, _ARCH, machine, "qemu")
        root = ElementTree.fromstring(text)  # noqa: S314  libvirt's own words
        return {value.text or "" for value in root.iterfind("os/enum[@name='firmware']/value")}

    def _cpus(self, r: Domain) -> Iterator[str]:
        present = cpus((self._sys / "devices/system/cpu/online").read_text().strip())
        for pin in r.tune.pins:
            if missing := sorted(cpus(pin.cpus) - present):
                yield f"vCPU {pin.vcpu} is pinned to CPU {missing[0]}; this machine has {_ranges(present)}"
        if missing := sorted(cpus(r.tune.cpuset) - present):
            yield f"the cpuset has CPU {missing[0]}; this machine has {_ranges(present)}"
        node = r.memory.numa_node
        if node is not None and not (self._sys / f"devices/system/node/node{node}").exists():
            yield f"this machine has no NUMA node {node}"

    def _cpu_model(self, r: Domain) -> Iterator[str]:
        if r.cpu.mode != "named":
            return
        known = self._connection.getCPUModelNames(_ARCH)
        if r.cpu.model not in known:
            names = {name.lower(): name for name in known}
            near = did_you_mean(r.cpu.model, names, f"`virsh cpu-models {_ARCH}` lists them")
            for name in names:
                near = near.replace(f"`{name}`", f"`{names[name]}`")
            yield f"libvirt knows no CPU {r.cpu.model}; {near}"

    def _boot(self, r: Domain) -> Iterator[str]:
        for what, path in (("kernel", r.boot.kernel), ("initrd", r.boot.initrd)) if r.boot else ():
            if path and (reason := images.unreadable(path, self._owner)):
                yield f"the {what}: {reason}"

    def _memory(self, r: Domain) -> Iterator[str]:
        """What the kernel refuses one process (Documentation/mm/overcommit-accounting.rst); huge pages are counted."""
        if r.memory.pages or Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "1":
            return
        words = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        has = sum(int(word[1]) for word in words if word[0] in ("MemTotal:", "SwapTotal:"))
        if r.memory.size > has:
            yield f"{r.memory.size >> 20} GiB of memory are more than this machine's {has >> 20} GiB, swap included"

    def _nic(self, nic: Nic) -> Iterator[str]:
        if not (nic.passthrough or nic.vf_of) and nic.model not in _MODELS:
            likely = did_you_mean(nic.model, _MODELS, f"such as {', '.join(_MODELS[:4])}")
            yield f"{nic.name}: QEMU has no NIC {nic.model}; {likely}"
        if nic.vhost and not os.access("/dev/vhost-net", os.F_OK):
            yield f"{nic.name}: `vhost on`, but there is no /dev/vhost-net; `modprobe vhost_net` brings it"
        if not (nic.passthrough or nic.vf_of):
            return
        groups = self._sys / "kernel/iommu_groups"
        if not groups.is_dir() or not any(groups.iterdir()):
            yield (
                f"{nic.name}: nothing can be passed through without an IOMMU; switch it on in the firmware, "
                "and with intel_iommu=on (AMD: by default) on the kernel's command line"
            )
        elif nic.passthrough:
            yield from self._device(nic)
        else:
            yield from self._virtual_function(nic)

    def _device(self, nic: Nic) -> Iterator[str]:
        try:
            from vtopo.compile.domain_xml import PciAddress

            PciAddress.parse(nic.passthrough)
        except ValueError as e:
            yield f"{nic.name}: {e}"
            return
        if not (self._sys / "bus/pci/devices" / nic.passthrough.lower()).exists():
            yield f"{nic.name}: there is no PCI device {nic.passthrough}; `lspci -D` lists them"
            return
        for facts in self._domains:
            if nic.passthrough.lower() in facts.pci_addresses() and facts.lab != self._lab:
                yield f"{nic.name}: the PCI device {nic.passthrough} is in use by {facts.root.findtext('name')}"

    def _virtual_function(self, nic: Nic) -> Iterator[str]:
        function = self._sys / "class/net" / nic.vf_of
        if not function.exists():
            yield f"{nic.name}: this machine has no interface {nic.vf_of}"
            return
        all_ = virtual_functions(nic.vf_of, self._sys)
        if not all_:
            yield (
                f"{nic.name}: {nic.vf_of} has no virtual functions; "
                f"`echo 4 > /sys/class/net/{nic.vf_of}/device/sriov_numvfs` makes some, if it can have any"
            )
            return
        in_use = {a for facts in self._domains for a in facts.pci_addresses()} | self._taken
        free = [address for address in all_ if address not in in_use]
        if not free:
            yield f"{nic.name}: all {len(all_)} virtual functions of {nic.vf_of} are in use"
            return
        self._taken.add(free[0])


def exceeded(r: Capacity) -> Iterator[str]:
    """What of the machine the lab's VMs see more often than the lab allows."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    for what, seen, has in (
        ("vCPUs", r.vcpus, os.cpu_count() or 1),
        ("MiB of memory", r.memory // 1024, pages * size >> 20),
    ):
        if seen * 1000 > has * r.limit:
            yield (
                f"its VMs have {seen} {what}, {seen / has:.1f} times the machine's {has}; "
                f"`overcommit {r.limit / 1000:g}` is the lab's limit"
            )


def virtual_functions(interface: str, sys: Path = Path("/sys")) -> list[str]:
    """The PCI addresses of a physical function's virtual ones, in their order."""
    device = sys / "class/net" / interface / "device"
    links = sorted(device.glob("virtfn*"), key=lambda path: int(path.name.removeprefix("virtfn")))
    return [link.resolve().name for link in links]


def free_functions(connection: libvirt.virConnect, r: Domain) -> Mapping[str, str]:
    """For each NIC that asks for a virtual function, the first that no domain has."""
    wanted = [nic for nic in r.nics if nic.vf_of]
    if not wanted:
        return {}
    taken = {
        address
        for domain in connection.listAllDomains()
        for address in DomainFacts.parse(domain.XMLDesc()).pci_addresses()
    }
    chosen: dict[str, str] = {}
    for nic in wanted:
        free = [address for address in virtual_functions(nic.vf_of) if address not in taken]
        if not free:
            raise ValueError(f"all virtual functions of {nic.vf_of} are in use")
        chosen[nic.name] = free[0]
        taken.add(free[0])
    return chosen


def _ranges(numbers: frozenset[int]) -> str:
    """`CPUs 0 to 3`, or each of them."""
    first, last = min(numbers), max(numbers)
    whole = len(numbers) == last - first + 1
    return (
        f"CPUs {first} to {last}"
        if whole and first != last
        else f"CPU {', '.join(map(str, sorted(numbers)))}"
    )
