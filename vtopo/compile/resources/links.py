"""What is plugged together by netlink: bridges, veth pairs, tunnels, addresses, routes, sysctls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar, Literal

from vtopo.compile.resources.base import OPTIONAL, Resource
from vtopo.compile.resources.ports import BridgePort
from vtopo.compile.resources.traffic import Impairment
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Resource):
    """A learning switch in the namespace `netns` (the id of a Netns or a Host).

    Times are in ms. `stp` is whether it takes part in a spanning tree, `priority` to `max_age` are its part in it
    (IEEE 802.1D). With `aware` its ports pass their own VLANs only; its own interface is in `vlan` untagged (0: in
    none) and in `trunk` tagged. `why` says to people why it is not merely a cable (vtopo.compile.cables).
    """

    kind: ClassVar[str] = "bridge"
    in_place: ClassVar[frozenset[str]] = frozenset(
        {
            *("mtu", "mac", "stp", "priority", "forward_delay", "hello_time", "max_age"),
            *("ageing", "snooping", "aware", "vlan", "trunk"),
        }
    )
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    mac: str
    mtu: int
    stp: bool = field(default=False, metadata=OPTIONAL)
    priority: int = field(default=0x8000, metadata=OPTIONAL)
    forward_delay: int = field(default=15_000, metadata=OPTIONAL)
    hello_time: int = field(default=2_000, metadata=OPTIONAL)
    max_age: int = field(default=20_000, metadata=OPTIONAL)
    ageing: int = field(default=300_000, metadata=OPTIONAL)
    snooping: bool = field(default=True, metadata=OPTIONAL)
    aware: bool = field(default=False, metadata=OPTIONAL)
    vlan: int = field(default=0, metadata=OPTIONAL)
    trunk: str = field(default="", metadata=OPTIONAL)
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VethEnd:
    """One end of a veth pair; `master` is the name of the bridge in `netns` that it is a port of, `bridge_port`
    what it is told as one.

    `impairment` is what becomes of the packets that it sends. `state` is what somebody set it to (IFF_UP,
    `ip link set … up|down`), not whether it has a carrier.
    """

    netns: str
    name: str
    mac: str
    mtu: int
    master: str | None = None
    state: Literal["up", "down"] = "up"
    impairment: Impairment | None = None
    bridge_port: BridgePort | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(Resource):
    """A veth pair. Each end is born in its namespace.

    `lan` are the ports of a bridge that it is instead of (`lan:eth0`), first that which its left end would be plugged
    into; of any other link it is empty.
    """

    kind: ClassVar[str] = "veth"
    in_place: ClassVar[frozenset[str]] = frozenset(
        f"{end}.{name}"
        for end in ("left", "right")
        for name in ("mtu", "mac", "master", "state", "impairment", "bridge_port")
    )
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("left.netns", "left.name"),
        ("right.netns", "right.name"),
    )
    left: VethEnd
    right: VethEnd
    lan: tuple[str, ...] = field(default=(), metadata=OPTIONAL)

    @property
    def ends(self) -> tuple[str, str]:
        """The full names of its ends (`a:eth0`), the left one first."""
        left, _, right = self.id.removesuffix("/veth").partition("--")
        return left, right

    @property
    def interfaces(self) -> tuple[tuple[str, VethEnd], ...]:
        """By the full names of the lab's text, where its interfaces are.

        A port of a bridge that it is instead of is the pair's other end: it sends and receives the same.
        """
        left, right = self.ends
        ports = zip(self.lan, (self.right, self.left), strict=False)
        return (left, self.left), *ports, (right, self.right)

    @property
    def stands_for(self) -> str | None:
        """The bridge of the lab's text that it is instead of; None of any other link."""
        return self.lan[0].partition(":")[0] if self.lan else None

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The links of the lab's text that it is, each by the full names of its ends, from left to right."""
        left, right = self.ends
        if not self.lan:
            return ((left, right),)
        near, far = self.lan
        return (left, near), (far, right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan(Resource):
    """A VXLAN tunnel end (RFC 7348) in `netns`, a port of the bridge `master` there.

    `vni` has 24 bits; `local` is its address in the underlay, `device` the underlay's interface (empty: whichever
    the routes say), `port` the UDP destination port. `mtu` is the inner one, in bytes. `group` is the multicast
    group that gets broadcast and unknown frames, as well as all Flood entries; empty if there is none. Without
    `learning` neither it nor its bridge's port learns, and the bridge answers ARP and neighbour solicitations for
    what the Forward and Neighbour entries tell. `ttl` 0 is the kernel's choice, `tos` 1 the inner packet's.
    """

    kind: ClassVar[str] = "vxlan"
    in_place: ClassVar[frozenset[str]] = frozenset(
        {"mtu", "mac", "local", "device", "master", "learning", "ttl", "tos", "bridge_port"}
    )
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"), ("netns", "vni", "port"))
    netns: str
    name: str
    mac: str
    vni: int
    port: int
    local: str
    device: str
    mtu: int
    master: str
    group: str = ""
    learning: bool = True
    ttl: int = 0
    tos: int = 0
    bridge_port: BridgePort | None = field(default=None, metadata=OPTIONAL)

    def changes_in_place(self, name: str, was: Resource) -> bool:
        """As of every resource; a tunnel keeps the address family it was born with (vxlan_nl2conf)."""
        if name == "local" and isinstance(was, Vxlan):
            return (":" in was.local) == (":" in self.local)
        if name == "device" and isinstance(was, Vxlan) and not self.device:
            return False  # a tunnel that was bound to an interface stays so
        return name in self.in_place


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineVxlan(Vxlan):
    """A tunnel end like others, whose packets pass the machine's own interface `device`.

    It is in `netns`, and its socket in the machine's namespace. With an unspecified `local` the machine chooses.
    """

    kind: ClassVar[str] = "machine-vxlan"
    in_place: ClassVar[frozenset[str]] = Vxlan.in_place - {"local", "device"}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"), ("vni", "port"))

    def changes_in_place(self, name: str, was: Resource) -> bool:
        """As of every resource."""
        return name in self.in_place

    @property
    def holds_outside(self) -> bool:
        """Its VNI, at the machine's port."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood(Resource):
    """An all-zeros forwarding entry of a VTEP: a remote that gets broadcast and unknown frames."""

    kind: ClassVar[str] = "flood"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "device", "remote"),)
    netns: str
    device: str
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Resource):
    """Where a VTEP's bridge sends frames for a MAC: by the VTEP `device`, to the tunnel end `remote`."""

    kind: ClassVar[str] = "forward"
    in_place: ClassVar[frozenset[str]] = frozenset({"remote"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "device", "mac"),)
    netns: str
    device: str
    mac: str
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(Resource):
    """A permanent entry of an interface's ARP or neighbour table; a bridge answers from it for who is far away."""

    kind: ClassVar[str] = "neighbour"
    in_place: ClassVar[frozenset[str]] = frozenset({"mac"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "device", "address"),)
    netns: str
    device: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Resource):
    """An address with its prefix length, such as `10.0.0.1/24`, on an interface of `netns`.

    `others` are addresses on that interface that somebody has added; a lab wants none. Of an interface's own addresses
    one tells of them, be it itself gone.
    """

    kind: ClassVar[str] = "address"
    in_place: ClassVar[frozenset[str]] = frozenset({"others", "state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "address"),)
    netns: str
    device: str
    address: str
    others: tuple[str, ...] = field(default=(), metadata=OPTIONAL)
    state: Literal["set", "gone"] = field(default="set", metadata=OPTIONAL)

    def gives_up(self, new: Resource) -> Iterable[tuple[str, ...]]:
        """The others that go: whoever adds one by hand may write it into the lab next."""
        left = new.others if isinstance(new, Address) else ()
        return [(self.netns, other) for other in self.others if other not in left]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Resource):
    """A route in a table of `netns`, of itself the main one: a prefix (`0.0.0.0/0`, `::/0`: the defaults) by way of a
    next hop."""

    kind: ClassVar[str] = "route"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "destination", "table"),)
    netns: str
    destination: str
    via: str
    table: int = field(default=254, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Resource):
    """A network sysctl of `netns`, with its dotted key (Documentation/networking/ip-sysctl.rst)."""

    kind: ClassVar[str] = "sysctl"
    in_place: ClassVar[frozenset[str]] = frozenset({"value"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "key"),)
    netns: str
    key: str
    value: str
