"""Domains, one for each thing that can be said of a VM: the cases of the golden files and of libvirt's own check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vtopo.compile.domain_names import domain_name, domain_uuid
from vtopo.compile.resources import Domain
from vtopo.compile.resources.domains import Boot, Cpu, Drive, Memory, Nic, Pin, Tune, Vcpus

LAB = "shop"
FOLDER = "/var/lib/libvirt/vtopo/shop"


def vm(**fields: Any) -> Domain:
    """A VM `fw` with a console and nothing else, but for what is given."""
    plain = Domain(
        id="fw/domain",
        node="fw",
        name=domain_name(LAB, "fw"),
        uuid=domain_uuid(LAB, "fw"),
        memory=Memory(size=1048576),
        console="fw.console.log",
    )
    return replace(plain, **fields)


def nic(name: str = "eth0", **fields: Any) -> Nic:
    return replace(Nic(name=name, mac=f"02:00:00:00:00:0{name[-1]}", tap=f"vt00000000{name[-1]}"), **fields)


def drive(name: str = "root", **fields: Any) -> Drive:
    return replace(Drive(name=name, file=f"fw.{name}.qcow2"), **fields)


CASES: Mapping[str, Domain] = {
    "plain": vm(),
    "disks": vm(
        drives=(
            drive(),
            drive("data", cache="none"),
            drive("logs", bus="scsi", cache="writeback"),
            drive("old", bus="sata"),
            Drive(name="seed", file="fw.seed.iso", seed=True),
        )
    ),
    "ide-on-i440fx": vm(
        machine="pc",
        drives=(
            drive(bus="ide"),
            drive("b", bus="ide"),
            Drive(name="seed", file="s.iso", bus="ide", seed=True),
        ),
    ),
    "nics": vm(
        nics=(
            nic("eth0"),
            nic("eth1", queues=4, vhost=True, mtu=9000),
            nic("eth2", queues=2),
            nic("eth3", vhost=False),
            nic("eth4", model="e1000"),
            nic("eth5", model="rtl8139"),
        )
    ),
    "passthrough": vm(nics=(nic("eth0"), nic("eth1", tap="", passthrough="0000:03:10.1"))),
    "virtual-function": vm(nics=(nic("eth0", tap="", vf_of="enp3s0f0"),)),
    "vcpus": vm(
        vcpus=Vcpus(count=4, sockets=1, cores=2, threads=2),
        tune=Tune(
            shares=512,
            quota=50000,
            cpuset="0-3",
            pins=(Pin(vcpu=0, cpus="0"), Pin(vcpu=1, cpus="2-3")),
        ),
    ),
    "cpu-host-passthrough": vm(cpu=Cpu(mode="host-passthrough", cache="passthrough")),
    "cpu-host-model": vm(cpu=Cpu(mode="host-model")),
    "cpu-named": vm(cpu=Cpu(mode="named", model="EPYC-Rome", cache="emulate")),
    "cpu-without-caches": vm(cpu=Cpu(cache="disable")),
    "hugepages": vm(memory=Memory(size=2097152, pages=2048, numa_node=0, balloon=False)),
    "hugepages-1g": vm(memory=Memory(size=2097152, pages=1048576)),
    "kernel": vm(
        boot=Boot(kernel="/images/vmlinuz", initrd="/images/initrd", cmdline="console=ttyS0 quiet"),
        drives=(drive(),),
    ),
    "uefi": vm(firmware="uefi", drives=(drive(),)),
    "hyperv": vm(hyperv=True),
    "vnc": vm(graphics="vnc"),
    "hostile": vm(
        boot=Boot(
            kernel="/tmp/a b'/><boot dev='network'/><kernel>/k",
            cmdline="x</cmdline><cmdline>\"&amp;'<!-- ]]>",
        ),
        machine="q35'><loader/>",
        cpu=Cpu(mode="named", model="</model><feature/>"),
        drives=(drive("d'/><x", file="../../etc/passwd'/>"),),
        nics=(nic(model="virtio'/><script path='/tmp/x"),),
    ),
}
"""By name; each is rendered for KVM and for TCG."""
