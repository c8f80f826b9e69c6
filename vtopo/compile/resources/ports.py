"""What a bridge's port is told, and addresses that are behind one whatever it learns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from vtopo.compile.resources.base import Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """What a bridge's port is told: its VLANs (IEEE 802.1Q), what it learns and hears (ip-link(8), bridge_slave).

    `vlan` is the untagged VLAN (0: none), `trunk` the tagged ones as `10,20-29`. `cost` is the spanning tree's, 0 the
    kernel's own choice.
    """

    vlan: int = 0
    trunk: str = ""
    isolated: bool = False
    learning: bool = True
    flood: bool = True
    cost: int = 0

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.vlan:
            yield f"vlan {self.vlan}"
        if self.trunk:
            yield f"trunk {self.trunk}"
        if self.isolated:
            yield "isolated"
        if not self.learning:
            yield "learning off"
        if not self.flood:
            yield "flood off"
        if self.cost:
            yield f"cost {self.cost}"


PLAIN = BridgePort()
"""What a port is that is told nothing."""


def vlan_text(vlans: Iterable[int]) -> str:
    """Numbers of VLANs as `10,20-29`."""
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in _ranges(vlans))


def _ranges(vlans: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The stretches of following numbers, the first and last of each."""
    first = last = 0
    for vlan in sorted(set(vlans)):
        if vlan != last + 1 or not last:
            if last:
                yield first, last
            first = vlan
        last = vlan
    if last:
        yield first, last


def vlan_ranges(text: str) -> list[tuple[int, int]]:
    """What `vlan_text` wrote."""
    pairs = (part.partition("-") for part in text.split(",") if part)
    return [(int(first), int(last or first)) for first, _, last in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticMac(Resource):
    """A forwarding entry of a bridge that it did not learn (bridge-fdb(8)): `mac` is behind its port `device`.

    `vlan` is 0 where the bridge tells no VLANs apart.
    """

    kind: ClassVar[str] = "static-mac"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "device", "mac", "vlan"),)
    netns: str
    device: str
    mac: str
    vlan: int = 0
