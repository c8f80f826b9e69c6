"""The whole examination, and which of its findings a lab's resources depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vtopo.compile.resources import Domain, HugePages, Resource
from vtopo.doctor import hardware, kernel, limits, network, programs
from vtopo.doctor.findings import Finding, Health, Root
from vtopo.model.lab import Lab

_ALWAYS = frozenset({"rights", "kernel", "kernel.veth"})
_OF_KIND = {
    "bridge": {"kernel.bridge"},
    "vxlan": {"kernel.vxlan"},
    "machine-vxlan": {"kernel.vxlan"},
    "gate": {"forwarding", "firewall"},
    "cgroup": {"cgroups", "swap", "swappiness"},
    "container": {"docker", "cgroups"},
    "domain": {"kvm", "paging", "libvirt", "virtio", "overcommit"},
    "tap": {"kernel.tun", "kernel.sch_ingress", "vhost"},
    "hugepages": {"hugepages"},
}


def examine(root: Root | None = None) -> list[Finding]:
    """Everything about this machine."""
    root = root or Root()
    return [
        *programs.findings(),
        *kernel.findings(root),
        *limits.findings(root),
        *network.findings(root),
        *hardware.findings(root),
    ]


def needed(resources: Iterable[Resource]) -> frozenset[str]:
    """The names of the findings that these depend on."""
    names = set(_ALWAYS)
    for r in resources:
        names |= _OF_KIND.get(r.kind, set())
        if isinstance(r, Domain) and any(nic.passthrough or nic.vf_of for nic in r.nics):
            names.add("iommu")
            names |= {"sriov"} if any(nic.vf_of for nic in r.nics) else set()
        if isinstance(r, Domain | HugePages) and _numa_node(r) is not None:
            names.add("numa")
        if isinstance(r, HugePages):
            names.add("hugepages")
    return frozenset(names)


def _numa_node(r: Domain | HugePages) -> int | None:
    return r.memory.numa_node if isinstance(r, Domain) else r.numa_node


def relevant(
    found: Sequence[Finding], lab: Lab, resources: Iterable[Resource], root: Root | None = None
) -> list[Finding]:
    """Those of the findings that matter to a lab, which has these resources."""
    names = needed(resources)
    own = network.neighbours(root or Root(), lab)
    return [*(f for f in found if f.name in names), *([own] if own.health is not Health.GOOD else [])]
