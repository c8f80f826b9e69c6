"""Virtual machines, with what they are made of."""

from __future__ import annotations

import re

from vtopo.lang.source import Range
from vtopo.values import dataclass

PCI_ADDRESS = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
"""Domain, bus, slot and function, as lspci(8) has them with -D."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the machine, as the text names it: relative to the file that `range` is in, unless it is absolute."""

    path: str
    range: Range


@dataclass(frozen=True, slots=True)
class VmDisk:
    """A further disk of a VM; `size` in bytes, 0: the image's."""

    name: str
    size: int
    image: File | None
    bus: str
    cache: str


@dataclass(frozen=True, slots=True)
class VmPin:
    """The machine's CPUs that a vCPU may run on."""

    vcpu: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VmCpu:
    """The CPU that a guest sees; `mode` is host-passthrough, host-model, or named, which `model` is then."""

    mode: str
    model: str = ""
    cache: str = ""


@dataclass(frozen=True, slots=True)
class VmNic:
    """A VM's NIC: an end of a link, or a device that is passed through; `vhost` None leaves it to libvirt."""

    name: str
    mac: str
    model: str
    queues: int
    vhost: bool | None
    passthrough: str
    vf_of: str


@dataclass(frozen=True, slots=True)
class CloudInit:
    """What cloud-init is told as the text says it; empty where the lab says it."""

    user_data: str
    meta_data: str
    network_config: str


@dataclass(frozen=True, slots=True)
class Ssh:
    """How commands get into a guest by ssh: as whom, and with which private key, on which TCP port."""

    user: str
    key: File
    port: int


@dataclass(frozen=True, slots=True)
class Vm:
    """A node's virtual hardware. `memory` and `hugepages` (the size of one, 0: none) in bytes; `cpus` in thousandths.

    `topology` is sockets, cores of each, threads of each: 0 where nothing is said.
    """

    name: str
    image: File | None
    disks: tuple[VmDisk, ...]
    kernel: File | None
    initrd: File | None
    cmdline: str
    vcpus: int
    topology: tuple[int, ...]
    pins: tuple[VmPin, ...]
    cpu: VmCpu
    memory: int
    hugepages: int
    numa: int | None
    nics: tuple[VmNic, ...]
    accel: str
    machine_type: str
    firmware: str
    hyperv: bool
    graphics: str
    balloon: bool
    persist: bool
    cloud_init: CloudInit | None
    cpus: int
    cpu_weight: int
    cpuset: tuple[int, ...]
    ssh: Ssh | None
    range: Range
