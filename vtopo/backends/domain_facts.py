"""What libvirt says of a running domain, read from its XML: whose it is, and its spec as it stands now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from xml.etree import ElementTree

from vtopo.compile.domain_names import MARK
from vtopo.compile.resources import Domain
from vtopo.compile.resources.domains import Pin, Tune
from vtopo.values import dataclass

_UNSET_SHARES = (None, 100, 1024)
"""What a domain has that was given none, on cgroups of version 2 and 1."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain of libvirt's: `lab` and `node` are empty unless it carries our mark; `pty` is its serial console."""

    lab: str
    node: str
    root: ElementTree.Element

    @classmethod
    def parse(cls, xml: str) -> DomainFacts:
        """From what virDomainGetXMLDesc says."""
        root = ElementTree.fromstring(xml)  # noqa: S314  libvirt's own words
        mark = root.find(f"metadata/{{{MARK}}}node")
        lab, node = (mark.get("lab", ""), mark.get("name", "")) if mark is not None else ("", "")
        return cls(lab, node, root)

    @property
    def accel(self) -> str:
        """`kvm`, or `tcg`."""
        return "kvm" if self.root.get("type") == "kvm" else "tcg"

    def files(self) -> set[str]:
        """The files of its disks."""
        return {source.get("file", "") for source in self.root.iterfind("devices/disk/source")}

    def pci_addresses(self) -> set[str]:
        """The PCI devices that it has been given, as `0000:03:10.1`."""
        paths = ("devices/hostdev/source/address", "devices/interface[@type='hostdev']/source/address")
        found = [address for path in paths for address in self.root.iterfind(path)]
        return {
            ":".join(_hex(a, part, 4 if part == "domain" else 2) for part in ("domain", "bus", "slot"))
            + f".{_hex(a, 'function', 1)}"
            for a in found
        }

    def taps(self) -> list[str]:
        """The taps of its NICs."""
        return [target.get("dev", "") for target in self.root.iterfind("devices/interface/target")]

    def spec(self, wanted: Domain, machine: frozenset[int]) -> Domain:
        """`wanted` with what differs now: memory, vCPUs, NICs and drives that came or went, shares, quota, pins.

        `machine` has the CPUs that there are: a vCPU that may run on all of them is not pinned.
        """
        vcpu = self.root.find("vcpu")
        count = int(vcpu.get("current") or vcpu.text or 0) if vcpu is not None else 0
        memory = int(self.root.findtext("memory") or 0)
        taps = set(self.taps())
        files = {path.rpartition("/")[2] for path in self.files()}
        return dataclasses.replace(
            wanted,
            memory=dataclasses.replace(wanted.memory, size=memory),
            vcpus=dataclasses.replace(wanted.vcpus, count=count),
            nics=tuple(nic for nic in wanted.nics if not nic.tap or nic.tap in taps),
            drives=tuple(drive for drive in wanted.drives if drive.file in files),
            tune=self._tune(wanted.tune, cpus(wanted.tune.cpuset) or machine),
        )

    def _tune(self, wanted: Tune, free: frozenset[int]) -> Tune:
        shares = _number(self.root.findtext("cputune/shares"))
        quota = _number(self.root.findtext("cputune/global_quota"))
        if wanted.shares is None and shares in _UNSET_SHARES:
            shares = None
        pins = tuple(
            Pin(vcpu=int(pin.get("vcpu", "0")), cpus=pin.get("cpuset", ""))
            for pin in self.root.iterfind("cputune/vcpupin")
        )
        same = _pinned(pins, free) == _pinned(wanted.pins, free)
        return dataclasses.replace(wanted, shares=shares, quota=quota, pins=wanted.pins if same else pins)


def _pinned(pins: Sequence[Pin], free: frozenset[int]) -> dict[int, frozenset[int]]:
    """Each vCPU that may not run everywhere."""
    return {pin.vcpu: there for pin in pins if (there := cpus(pin.cpus)) and not there >= free}


def _number(text: str | None) -> int | None:
    return int(text) if text and int(text) > 0 else None


def _hex(address: ElementTree.Element, part: str, digits: int) -> str:
    return f"{int(address.get(part, '0'), 16):0{digits}x}"


def cpus(text: str) -> frozenset[int]:
    """The CPUs of a list such as `0-1,4` (cpuset(7), List Format)."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
