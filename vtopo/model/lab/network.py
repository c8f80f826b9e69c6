"""What is plugged together: addresses, routes, bridges, links, overlays."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range
from vtopo.values import dataclass

IPAddress: TypeAlias = IPv4Address | IPv6Address


IPNetwork: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    """A host's route to a prefix by way of a next hop; `interface` is the one whose subnet holds the next hop."""

    destination: IPNetwork
    via: IPAddress
    interface: str
    range: Range
    vrf: str = ""
    """The VRF whose table has it; empty: the main one."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A learning switch in the fabric, or in its parent's namespace.

    `mtu` in bytes, times in µs; `kind` is bridge, or uplink. `aware` is whether its ports pass their own VLANs only;
    its own interface, which its addresses are on, is in `vlan` untagged (0: in none) and in `trunk` tagged. `options`
    are the properties that say how it switches, as far as the text has them, be it at their defaults.
    """

    name: str
    parent: str | None
    addresses: tuple[IPInterface, ...]
    mtu: int
    range: Range
    kind: str = "bridge"
    stp: bool = False
    ageing: int = 300_000_000
    snooping: bool = True
    priority: int = 0x8000
    forward_delay: int = 15_000_000
    hello_time: int = 2_000_000
    max_age: int = 20_000_000
    aware: bool = False
    vlan: int = 0
    trunk: tuple[int, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticMac:
    """An address that is behind a bridge's port, in a VLAN (0: the bridge knows none)."""

    mac: str
    vlan: int


@dataclass(frozen=True, slots=True)
class Port:
    """What is particular to a bridge's port: its untagged VLAN (0: none), its tagged ones, what it learns and hears.

    A `cost` of 0 is the kernel's own choice.
    """

    vlan: int = 0
    trunk: tuple[int, ...] = ()
    isolated: bool = False
    learning: bool = True
    flood: bool = True
    cost: int = 0
    static_macs: tuple[StaticMac, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link: on the node `node`, by the name that the lab knows it by; `mtu` in bytes.

    `port` is None where it is not a bridge's.
    """

    node: str
    name: str
    addresses: tuple[IPInterface, ...]
    mac: str
    mtu: int
    range: Range
    up: bool = True
    port: Port | None = None

    @property
    def full_name(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction of a link does to its packets.

    `rate` in bit/s (0: no limit), `burst` in bytes (0: chosen by the rate), times in µs, shares in millionths.
    """

    rate: int = 0
    burst: int = 0
    delay: int = 0
    jitter: int = 0
    loss: int = 0
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A line between two interfaces; `forth` is what happens from left to right, `back` the other way."""

    left: Interface
    right: Interface
    forth: Impairment
    back: Impairment
    range: Range


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that a node has by itself: the loopback `lo`, or one that it makes.

    `kind` is loopback, vlan, bond, vrf or dummy; `of` are the interfaces that it is made of, `number` its VLAN
    or its table. Of a bond, `mode` is how it uses them, `miimon` how often it looks at them in µs, `primary` the
    one that it prefers.
    """

    node: str
    name: str
    kind: str
    of: tuple[str, ...]
    number: int
    addresses: tuple[IPInterface, ...]
    mac: str
    mtu: int
    up: bool
    range: Range
    mode: str = ""
    miimon: int = 0
    primary: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True, slots=True)
class Vtep:
    """A tunnel end: on `host` (None: the machine), sending from `address` of its interface, extending `bridge`.

    At the machine's interface an unspecified address stands for whichever the machine sends from.
    """

    host: str | None
    interface: str
    address: IPAddress
    bridge: str
    range: Range


@dataclass(frozen=True, slots=True)
class Overlay:
    """A VXLAN segment (RFC 7348). `mtu` is the inner one in bytes; `remotes` are tunnel ends outside the lab.

    `ttl` 0 is the machine's default, `tos` 1 that of the packet inside.
    Of the bridges' VLANs it carries `vlan` untagged (0: none) and those of `trunk` tagged.
    """

    name: str
    vni: int
    port: int
    mtu: int
    vteps: tuple[Vtep, ...]
    remotes: tuple[IPAddress, ...]
    range: Range
    group: IPAddress | None = None
    learning: bool = True
    ttl: int = 0
    tos: int = 0
    vlan: int = 0
    trunk: tuple[int, ...] = ()
