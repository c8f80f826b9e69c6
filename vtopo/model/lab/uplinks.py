"""The ways out of a lab."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from vtopo.lang.source import Range
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """The machine's `port` leads to `to_port` of `node`, by its `addresses`, at most one per family."""

    protocol: str
    port: int
    node: str
    to_port: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uplink:
    """What an uplink is besides a switch (a Bridge of that name).

    With NAT, `transit` are the subnets between the lab and the machine, one per family. Else `interface` is the
    machine's, and `mode` says whether all of it is the lab's (bridge) or shared (macvlan); `takeover` allows to take
    it though the machine uses it.
    """

    name: str
    interface: str | None
    mode: str
    takeover: bool
    transit: tuple[IPv4Network | IPv6Network, ...]
    publish: tuple[PublishedPort, ...]
    range: Range
