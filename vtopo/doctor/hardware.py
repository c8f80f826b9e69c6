"""What the machine has for virtual machines: KVM, paging, an IOMMU, SR-IOV, NUMA, huge pages, vhost, libvirt."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from vtopo.backends.base import BackendError
from vtopo.backends.kvm import Kvm, kvm
from vtopo.doctor.findings import Finding, Health, Root

_MODULES = {"GenuineIntel": ("kvm_intel", "ept"), "AuthenticAMD": ("kvm_amd", "npt")}


def findings(root: Root, ask_kvm: Callable[[], Kvm] = kvm) -> Iterator[Finding]:
    """All of them."""
    works = ask_kvm()
    yield _kvm(root, works)
    yield _paging(root, works)
    yield _iommu(root)
    yield _virtual_functions(root)
    yield _numa(root)
    yield _huge_pages(root)
    yield _vhost(root)
    if root.is_machine:
        yield from _libvirt()


def _kvm(root: Root, found: Kvm) -> Finding:
    if found.works:
        return Finding("kvm", "KVM", Health.GOOD, "runs guests", "VMs run at the machine's own speed")
    flags = re.search(r"^flags\s*:(.*)$", root.read("/proc/cpuinfo") or "", re.MULTILINE)
    virtual = flags is not None and {"vmx", "svm"} & set(flags[1].split())
    meaning = "VMs run under TCG, QEMU's translator, some ten times slower; `accel kvm` is refused"
    mend = ""
    if not root.exists("/dev/kvm"):
        mend = f"modprobe {_module(root)[0]}" if virtual else ""
        if not virtual:
            meaning += (
                ". The CPU shows no virtualization: switch it on in the firmware, or in the machine around it"
            )
    elif "no right" in found.reason:
        mend = "usermod -aG kvm $USER   # and log in again"
    return Finding("kvm", "KVM", Health.NOTE, found.reason, meaning, mend)


def _module(root: Root) -> tuple[str, str]:
    vendor = re.search(r"^vendor_id\s*:\s*(\w+)", root.read("/proc/cpuinfo") or "", re.MULTILINE)
    return _MODULES.get(vendor[1] if vendor else "", ("kvm_intel", "ept"))


def _paging(root: Root, works: Kvm) -> Finding:
    for module, parameter, name in (("kvm_intel", "ept", "EPT"), ("kvm_amd", "npt", "NPT")):
        value = root.read(f"/sys/module/{module}/parameters/{parameter}")
        if value in ("Y", "1"):
            return Finding("paging", "EPT/NPT", Health.GOOD, f"{name} is on")
        if value is not None:
            return Finding(
                "paging",
                "EPT/NPT",
                Health.NOTE,
                f"{name} is off",
                "guests' memory is translated by the machine's software: VMs are slow",
                f"modprobe -r {module} && modprobe {module} {parameter}=1",
            )
    why = "KVM's module says nothing of it" if works.works else "no KVM that has it"
    return Finding("paging", "EPT/NPT", Health.NOTE, why, "" if works.works else "TCG has no use for it")


def _iommu(root: Root) -> Finding:
    groups = root.names("/sys/kernel/iommu_groups")
    if groups:
        return Finding("iommu", "IOMMU", Health.GOOD, f"{len(groups)} groups", "NICs can be passed through")
    return Finding(
        "iommu",
        "IOMMU",
        Health.NOTE,
        "none, or it is switched off",
        "no `passthrough` and no `vf-of`",
        "add intel_iommu=on (AMD: amd_iommu=on) iommu=pt to GRUB_CMDLINE_LINUX, then update-grub and boot",
    )


def _virtual_functions(root: Root) -> Finding:
    """What `vf-of` may name (Documentation/PCI/pci-iov-howto.rst)."""
    title = "SR-IOV"
    found: dict[str, tuple[int, int]] = {}
    for name in root.names("/sys/class/net"):
        device = f"/sys/class/net/{name}/device"
        if most := root.number(f"{device}/sriov_totalvfs"):
            found[name] = (root.number(f"{device}/sriov_numvfs") or 0, most)
    if not found:
        return Finding("sriov", title, Health.NOTE, "no NIC has virtual functions", "no `vf-of`")
    said = ", ".join(f"{name}: {now} of {most} virtual functions" for name, (now, most) in found.items())
    if any(now for now, _ in found.values()):
        return Finding("sriov", title, Health.GOOD, said, "`vf-of` gives a VM one that is free")
    mend = f"echo 4 > /sys/class/net/{next(iter(found))}/device/sriov_numvfs"
    return Finding("sriov", title, Health.NOTE, said, "no `vf-of` until there are some", mend)


def _numa(root: Root) -> Finding:
    nodes = [name for name in root.names("/sys/devices/system/node") if re.fullmatch(r"node\d+", name)]
    nodes.sort(key=lambda name: int(name[4:]))
    if len(nodes) < 2:
        return Finding("numa", "NUMA", Health.GOOD, "one node", "all memory is as near to every CPU")
    parts = [f"{name}: CPUs {root.read(f'/sys/devices/system/node/{name}/cpulist')}" for name in nodes]
    meaning = "`numa N` has a VM's memory on one node; pin its vCPUs to that node's CPUs"
    return Finding("numa", "NUMA", Health.GOOD, "; ".join(parts), meaning)


def _huge_pages(root: Root) -> Finding:
    sizes = [int(name[len("hugepages-") : -len("kB")]) for name in root.names("/sys/kernel/mm/hugepages")]
    if not sizes:
        return Finding("hugepages", "huge pages", Health.BAD, "the kernel has none", "no `hugepages`")
    parts = []
    for size in sorted(sizes):
        folder = f"/sys/kernel/mm/hugepages/hugepages-{size}kB"
        total, free = root.number(f"{folder}/nr_hugepages"), root.number(f"{folder}/free_hugepages")
        parts.append(f"{_size(size)}: {total} reserved, {free} free")
    return Finding(
        "hugepages",
        "huge pages",
        Health.GOOD,
        "; ".join(parts),
        "`up` takes what a lab needs, if memory has it in one piece, and `down` gives it back",
    )


def _size(kib: int) -> str:
    return f"{kib >> 20} GiB" if kib >= 1 << 20 else f"{kib >> 10} MiB"


def _vhost(root: Root) -> Finding:
    if root.exists("/dev/vhost-net"):
        return Finding("vhost", "vhost_net", Health.GOOD, "there", "the kernel moves VMs' packets")
    return Finding(
        "vhost",
        "vhost_net",
        Health.NOTE,
        "there is no /dev/vhost-net",
        "QEMU moves VMs' packets itself: slower; `vhost on` is refused",
        "modprobe vhost_net",
    )


def _libvirt() -> Iterator[Finding]:
    from vtopo.backends.hypervisor import Hypervisor

    title = "libvirt, QEMU"
    if shutil.which("qemu-system-x86_64") is None:
        found, mend = (
            "no qemu-system-x86_64",
            "apt-get install qemu-system-x86 qemu-utils libvirt-daemon-system",
        )
        yield Finding("libvirt", title, Health.BAD, found, "no VMs", mend)
        return
    if shutil.which("qemu-img") is None:
        mend = "apt-get install qemu-utils"
        yield Finding("libvirt", title, Health.BAD, "no qemu-img", "no VMs with disks", mend)
        return
    if os.geteuid() != 0:
        yield Finding(
            "libvirt",
            title,
            Health.NOTE,
            "QEMU is installed",
            "VMs take root: an ordinary user's libvirt (qemu:///session) can make no taps for a lab's links",
            "sudo vtopo …",
        )
        return
    try:
        hypervisor = Hypervisor()
        connection = hypervisor.connection()
    except BackendError as e:
        absent = "libvirt-python" in str(e)
        mend = "pip install 'vtopo[libvirt]'" if absent else "systemctl enable --now libvirtd"
        yield Finding("libvirt", title, Health.BAD, str(e).partition(";")[0], "no VMs", mend)
        return
    versions = [_version(connection.getLibVersion()), _version(connection.getVersion())]
    found = f"libvirt {versions[0]} with QEMU {versions[1]}, at {hypervisor.uri}"
    yield Finding("libvirt", title, Health.GOOD, found, "VMs can be made")
    yield _virtio(connection.getDomainCapabilities(None, "x86_64", "q35", "qemu"))
    hypervisor.close()


def _virtio(capabilities: str) -> Finding:
    """Whether this QEMU has the devices of the paravirtual kind, by what libvirt says of its machines."""
    buses = {
        value.text
        for value in ElementTree.fromstring(capabilities).iterfind(  # noqa: S314  libvirt's own words
            "devices/disk/enum[@name='bus']/value"
        )
    }
    if "virtio" in buses:
        return Finding("virtio", "virtio", Health.GOOD, "QEMU has its devices", "guests need its drivers")
    meaning = "no NICs and disks of VMs as labs ask for them by default"
    return Finding(
        "virtio", "virtio", Health.BAD, "this QEMU has none", meaning, "apt-get install qemu-system-x86"
    )


def _version(number: int) -> str:
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
