"""The lab: every node, link and address decided, nothing left to look up."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    """A host's route to a prefix by way of a next hop; `interface` is the one whose subnet holds the next hop."""

    destination: IPNetwork
    via: IPAddress
    interface: str
    range: Range


@dataclass(frozen=True, slots=True)
class Host:
    """A light machine. `name` is its full, dotted name; `parent` that of the host which it lives behind."""

    name: str
    parent: str | None
    forward: bool
    routes: tuple[Route, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Bridge:
    """A learning switch in the fabric, or in its parent's namespace; `mtu` in bytes."""

    name: str
    parent: str | None
    addresses: tuple[IPInterface, ...]
    mtu: int
    range: Range


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link: on the node `node`, by the name that the lab knows it by; `mtu` in bytes."""

    node: str
    name: str
    addresses: tuple[IPInterface, ...]
    mac: str
    mtu: int
    range: Range

    @property
    def full_name(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True, slots=True)
class Link:
    """A line between two interfaces."""

    left: Interface
    right: Interface
    range: Range


@dataclass(frozen=True, slots=True)
class Vtep:
    """A tunnel end: on `host`, sending from `address` of its interface, extending `bridge`."""

    host: str
    interface: str
    address: IPAddress
    bridge: str
    range: Range


@dataclass(frozen=True, slots=True)
class Overlay:
    """A VXLAN segment (RFC 7348). `mtu` is the inner one in bytes; `remotes` are tunnel ends outside the lab."""

    name: str
    vni: int
    port: int
    mtu: int
    vteps: tuple[Vtep, ...]
    remotes: tuple[IPAddress, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Expectation:
    """`subject` reaches `target` by ICMP echo to `address` before `seconds` have passed, or never does if `negated`."""

    subject: str
    target: str
    address: IPAddress
    negated: bool
    seconds: float
    range: Range

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.subject} reaches {self.target}"


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab, in the order of its declarations."""

    name: str
    hosts: tuple[Host, ...]
    bridges: tuple[Bridge, ...]
    links: tuple[Link, ...]
    overlays: tuple[Overlay, ...]
    expectations: tuple[Expectation, ...]
