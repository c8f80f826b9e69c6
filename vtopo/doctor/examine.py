"""The whole examination, and which of its findings a lab's resources depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vtopo.compile.resources import Domain, HugePages, Resource
from vtopo.doctor import hardware, kernel, limits, programs
from vtopo.doctor.findings import Finding, Root

_ALWAYS = frozenset({"rights", "kernel", "kernel.veth"})
_OF_KIND = {
    "bridge": {"kernel.bridge"},
    "vxlan": {"kernel.vxlan"},
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


def relevant(found: Sequence[Finding], resources: Iterable[Resource]) -> list[Finding]:
    """Those of the findings that matter to these resources."""
    names = needed(resources)
    return [finding for finding in found if finding.name in names]
