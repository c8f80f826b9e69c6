"""Writes a domain's XML, as libvirt reads it, by a Jinja2 template that escapes every value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from vtopo.compile.domain_names import MARK
from vtopo.compile.resources.domains import Bus, Domain, Drive, Nic
from vtopo.model.lab.vms import PCI_ADDRESS
from vtopo.values import dataclass

if TYPE_CHECKING:
    from jinja2 import Environment

PERIOD = 100_000
"""The period of CPU quotas, in µs."""

SPARE_PORTS = 4
"""PCI Express ports that stay free for NICs that are plugged into the guest while it runs."""

_PREFIX: Mapping[Bus, str] = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
# XML 1.0, production 2: what has no place in a document, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class PciAddress:
    """A PCI device's place, each number in hexadecimal with 0x."""

    domain: str
    bus: str
    slot: str
    function: str

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """`0000:03:10.1`; a ValueError if it is none."""
        found = PCI_ADDRESS.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is no PCI address, such as 0000:03:10.1")
        return cls(*(f"0x{part.lower()}" for part in found.groups()))


@dataclass(frozen=True, slots=True)
class _Drive:
    """A drive with what its place among the others gives it."""

    file: str
    bus: str
    cache: str
    seed: bool
    cdrom: bool
    serial: str
    device: str
    order: int


@dataclass(frozen=True, slots=True)
class _Nic:
    """A NIC as the template needs it; `address` is None for one on a tap."""

    mac: str
    tap: str
    mtu: int
    model: str
    queues: int
    driver: Literal["", "vhost", "qemu"]
    address: PciAddress | None
    virtual_function: bool


def domain_xml(
    domain: Domain,
    lab: str,
    folder: str,
    *,
    accel: Literal["kvm", "tcg"],
    owner: str = "",
    functions: Mapping[str, str] | None = None,
) -> str:
    """The XML of a domain of `lab` whose files are in `folder`.

    `owner` (`+uid:+gid`) is whom QEMU runs as, without a change to any file's owner; empty leaves both to libvirt.
    `functions` has the PCI address of the virtual function chosen for each NIC that names a physical one.
    ValueError if a value has a character that XML cannot hold, or is no PCI address.
    """
    text = (
        _environment()
        .get_template("domain.xml.j2")
        .render(
            d=domain,
            lab=lab,
            folder=folder,
            accel=accel,
            owner=owner,
            mark=MARK,
            period=PERIOD,
            drives=_drives(domain),
            buses={drive.bus for drive in domain.drives},
            nics=[_nic(nic, functions or {}) for nic in domain.nics],
            ports=_ports(domain),
            state="",
        )
    )
    if bad := _FORBIDDEN.search(text):
        raise ValueError(f"a value of {domain.node} has the character {bad[0]!r}, which XML cannot hold")
    return text


def nic_xml(nic: Nic, state: Literal["up", "down"]) -> str:
    """The XML of a NIC on a tap, for a guest that runs, with or without a carrier."""
    return _environment().get_template("nic.xml.j2").render(nic=_nic(nic, {}), state=state)


def _ports(domain: Domain) -> int:
    """The PCI Express ports of a q35: one for each device that takes one, since those given are used up, and the spare.

    Other machines have slots (libvirt's documentation, PCI Express hotplug).
    """
    if "q35" not in domain.machine:
        return 0
    disks = sum(drive.bus == "virtio" for drive in domain.drives)
    scsi = any(drive.bus == "scsi" for drive in domain.drives)
    screen = domain.graphics == "vnc"  # its USB controller
    channel_and_random = 2
    return disks + scsi + screen + channel_and_random + domain.memory.balloon + len(domain.nics) + SPARE_PORTS


def snapshot_xml(memory: str, disks: Sequence[str]) -> str:
    """The XML of a snapshot of a domain's memory alone, into the file `memory`; `disks` are its devices."""
    from xml.sax.saxutils import quoteattr

    none = "".join(f"<disk name={quoteattr(disk)} snapshot='no'/>" for disk in disks)
    return (
        f"<domainsnapshot><memory snapshot='external' file={quoteattr(memory)}/>"
        f"<disks>{none}</disks></domainsnapshot>"
    )


@cache
def _environment() -> Environment:
    from importlib.resources import files

    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(lambda name: files("vtopo.compile").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _drives(domain: Domain) -> list[_Drive]:
    """Each with its device name, and with its turn at booting unless a kernel is given."""
    taken: Counter[str] = Counter()
    found = []
    for at, drive in enumerate(domain.drives, 1):
        prefix = _PREFIX[drive.bus]
        device = f"{prefix}{_letters(taken[prefix])}"
        taken[prefix] += 1
        order = 0 if domain.boot or drive.seed else at
        cdrom = drive.seed and drive.bus in ("sata", "ide")
        found.append(
            _Drive(drive.file, drive.bus, drive.cache, drive.seed, cdrom, _serial(drive), device, order)
        )
    return found


def _letters(number: int) -> str:
    """0 is a, 25 z, 26 aa: the kernel's names of disks."""
    letters = chr(ord("a") + number % 26)
    return letters if number < 26 else _letters(number // 26 - 1) + letters


def _serial(drive: Drive) -> str:
    """What the guest finds it by, under /dev/disk/by-id: virtio-blk has room for 20 bytes."""
    return drive.name[:20]


def _nic(nic: Nic, functions: Mapping[str, str]) -> _Nic:
    address = nic.passthrough or functions.get(nic.name, "")
    driver: Literal["", "vhost", "qemu"] = ""
    if nic.vhost is not None:
        driver = "vhost" if nic.vhost else "qemu"
    return _Nic(
        mac=nic.mac,
        tap=nic.tap,
        mtu=nic.mtu,
        model=nic.model,
        queues=nic.queues,
        driver=driver,
        address=PciAddress.parse(address) if address else None,
        virtual_function=bool(nic.vf_of),
    )
