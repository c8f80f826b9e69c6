"""The way out of a lab: translated addresses, and what stands in the machine's own network namespace."""

from __future__ import annotations

from typing import ClassVar, Literal

from vtopo.compile.resources.base import Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """What comes to `port` goes on to `to_port` of `address`."""

    protocol: Literal["tcp", "udp"]
    port: int
    address: str
    to_port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol} {self.port} -> {address}:{self.to_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat(Resource):
    """The table `vtopo` of nftables in a node's namespace.

    What leaves by an interface of `masquerade` takes that one's address; what comes in by one of these is
    forwarded by `forwards`, and to the addresses of `hidden` with the node's own address as its source, since they
    would answer elsewhere. `rules` is altered where somebody has changed them.
    """

    kind: ClassVar[str] = "nat"
    in_place: ClassVar[frozenset[str]] = frozenset({"masquerade", "forwards", "hidden", "rules"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns",),)
    netns: str
    masquerade: tuple[str, ...]
    forwards: tuple[PortForward, ...] = ()
    hidden: tuple[str, ...] = ()
    rules: Literal["as made", "altered"] = "as made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Resource):
    """Where an uplink meets the machine's own network namespace.

    A veth pair whose ends are both named `device`; of each of `subnets` (a /31, a /127) the machine's end has the
    first address and that in `netns` the second, with its default route by way of the first. In the machine's
    namespace, a table of nftables named `table`: what comes from the second address takes the machine's, and the
    machine's ports of `forwards` lead to it. `rules` is altered where somebody has changed them.
    """

    kind: ClassVar[str] = "gate"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu", "forwards", "rules"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("device",), ("table",))
    netns: str
    device: str
    table: str
    mac: str
    machine_mac: str
    mtu: int
    subnets: tuple[str, ...]
    forwards: tuple[PortForward, ...] = ()
    rules: Literal["as made", "altered"] = "as made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Macvlan(Resource):
    """An interface in `netns` on the machine's `interface`.

    With the mode passthru it has all that the machine's receives and sends, and its MAC address (`mac` is then empty);
    it is taken though the machine uses it if `takeover`. With the mode bridge both are used side by side. `master` is
    the bridge in `netns` that it is a port of.
    """

    kind: ClassVar[str] = "macvlan"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu", "state", "takeover"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    interface: str
    mode: Literal["passthru", "bridge"]
    mac: str
    mtu: int
    master: str | None = None
    state: Literal["up", "down"] = "up"
    takeover: bool = False

    @property
    def holds_outside(self) -> bool:
        """The whole interface, with its MAC address, if it has that alone."""
        return self.mode == "passthru"
