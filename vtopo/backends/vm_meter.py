"""What VMs have used, as libvirt tells it of their QEMUs: CPU time, memory, what their disks have read and written.

What passes their NICs is counted at the plugs (link_meter.py): the taps are where libvirt does not look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vtopo.backends.base import Handle
from vtopo.backends.hypervisor import Hypervisor, library, unreachable_in_words
from vtopo.backends.usage import NodeUsage, Usage
from vtopo.compile.resources import Domain, Resource


class VmMeter:
    """The VMs of one lab. Memory is what the machine gives for one, which may be less than its guest sees."""

    def __init__(self, lab: str, hypervisor: Callable[[], Hypervisor]) -> None:
        self._lab = lab
        self._open = hypervisor
        self._hypervisor: Hypervisor | None = None

    def usage(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Usage:
        """All that are there; BackendError if libvirt does not answer."""
        domains = {r.name: r for r in recorded if isinstance(r, Domain)}
        if not domains:
            return Usage()
        if self._hypervisor is None:
            self._hypervisor = self._open()
        libvirt = library()
        wanted = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_BALLOON
        wanted |= libvirt.VIR_DOMAIN_STATS_BLOCK | libvirt.VIR_DOMAIN_STATS_VCPU
        found = []
        with unreachable_in_words(self._hypervisor.uri):
            for domain, numbers in self._hypervisor.connection().getAllDomainStats(wanted):
                if (r := domains.get(domain.name())) is not None and domain.UUIDString() == r.uuid:
                    found.append(_usage(r.node, numbers))
        return Usage(nodes=tuple(found))


def _usage(node: str, numbers: Mapping[str, int]) -> NodeUsage:
    """From the typed parameters of virConnectGetAllDomainStats; memory is in KiB there, CPU time in ns."""

    def disks(what: str) -> int:
        return sum(numbers.get(f"block.{n}.{what}", 0) for n in range(numbers.get("block.count", 0)))

    rss, most = numbers.get("balloon.rss"), numbers.get("balloon.maximum")
    return NodeUsage(
        node,
        "vm",
        cpu=numbers["cpu.time"] // 1000 if "cpu.time" in numbers else None,
        memory=rss * 1024 if rss is not None else None,
        memory_limit=most * 1024 if most is not None else None,
        read=disks("rd.bytes"),
        written=disks("wr.bytes"),
    )
