"""The interfaces that a node makes by itself, and what it puts together to one."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from vtopo.compile.resources.base import Resource
from vtopo.values import dataclass

State: TypeAlias = Literal["up", "down"]
BondMode: TypeAlias = Literal[
    "balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan(Resource):
    """A VLAN of another interface of `netns` (IEEE 802.1Q): what leaves by it leaves `below`, with the tag `vid`."""

    kind: ClassVar[str] = "vlan"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu", "mac", "state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"), ("netns", "below", "vid"))
    netns: str
    name: str
    mac: str
    mtu: int
    below: str
    vid: int
    state: State = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond(Resource):
    """Several interfaces as one (Documentation/networking/bonding.rst); `miimon` is how often their carriers are
    looked at, in ms."""

    kind: ClassVar[str] = "bond"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu", "mac", "miimon", "state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    mac: str
    mtu: int
    mode: BondMode
    miimon: int
    state: State = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrf(Resource):
    """A routing domain of `netns` with a table of its own (Documentation/networking/vrf.rst)."""

    kind: ClassVar[str] = "vrf"
    in_place: ClassVar[frozenset[str]] = frozenset({"state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    table: int
    state: State = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy(Resource):
    """An interface that leads nowhere."""

    kind: ClassVar[str] = "dummy"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu", "mac", "state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    mac: str
    mtu: int
    state: State = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached(Resource):
    """An interface of `netns` that is part of a bond or of a VRF there.

    With `primary` it is the one that a bond uses as long as it can.
    """

    kind: ClassVar[str] = "attached"
    in_place: ClassVar[frozenset[str]] = frozenset({"primary"})
    netns: str
    device: str
    master: str
    primary: bool = False


Own: TypeAlias = Vlan | Bond | Vrf | Dummy
