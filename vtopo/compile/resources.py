"""What must exist for a lab to be real: one frozen dataclass per kind of resource.

A resource has a stable id, the ids that it needs before it can be made, and the ids that take it with
them when they go. From these alone follow the plan's order, undo, and what need not be deleted one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from vtopo.lang.source import Range

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that must exist in the world.

    `needs` names the resources that must exist first. `within` names those whose end ends this one too
    (an address goes with its interface, a veth pair with either of its namespaces); `needs` has them all.
    `origin` is where the lab's text asks for it; it takes no part in comparison.
    `in_place` lists the fields that the kernel can change without making the object anew.
    `unique` lists groups of fields whose values no two resources can hold at once: who takes a name waits
    until its former holder is gone.
    """

    kind: ClassVar[str]
    in_place: ClassVar[frozenset[str]] = frozenset()
    unique: ClassVar[tuple[tuple[str, ...], ...]] = ()

    id: str
    needs: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    origin: Range | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Resource):
    """The lab's tmpfs under the run directory: a skeleton layer and every host's copy-on-write layer."""

    kind: ClassVar[str] = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Netns(Resource):
    """A network namespace without processes, held by its name: the lab's fabric, where its bridges live."""

    kind: ClassVar[str] = "netns"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Resource):
    """A light machine: own pid, net, mnt, uts and ipc namespaces around an init that reaps.

    `node` is its full name in the lab, `name` that of its network namespace where `ip netns` finds it.
    """

    kind: ClassVar[str] = "host"
    in_place: ClassVar[frozenset[str]] = frozenset({"name"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    node: str
    name: str
    hostname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Resource):
    """A learning switch in the namespace `netns` (the id of a Netns or a Host)."""

    kind: ClassVar[str] = "bridge"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"),)
    netns: str
    name: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VethEnd:
    """One end of a veth pair; `master` is the name of the bridge in `netns` that it is a port of."""

    netns: str
    name: str
    mac: str
    mtu: int
    master: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(Resource):
    """A veth pair, both ends up. Each end is born in its namespace."""

    kind: ClassVar[str] = "veth"
    in_place: ClassVar[frozenset[str]] = frozenset({"left.mtu", "right.mtu"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("left.netns", "left.name"),
        ("right.netns", "right.name"),
    )
    left: VethEnd
    right: VethEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan(Resource):
    """A VXLAN tunnel end (RFC 7348) in `netns`, a port of the bridge `master` there.

    `vni` has 24 bits; `local` is its address in the underlay, `device` the underlay's interface,
    `port` the UDP destination port. `mtu` is the inner one, in bytes.
    """

    kind: ClassVar[str] = "vxlan"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu"})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood(Resource):
    """An all-zeros forwarding entry of a VTEP: a remote that gets broadcast and unknown frames."""

    kind: ClassVar[str] = "flood"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "device", "remote"),)
    netns: str
    device: str
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Resource):
    """An address with its prefix length, such as `10.0.0.1/24`, on an interface of `netns`."""

    kind: ClassVar[str] = "address"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "address"),)
    netns: str
    device: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Resource):
    """A route in `netns`' main table: a prefix (`0.0.0.0/0`, `::/0`: the defaults) by way of a next hop."""

    kind: ClassVar[str] = "route"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "destination"),)
    netns: str
    destination: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Resource):
    """A network sysctl of `netns`, with its dotted key (Documentation/networking/ip-sysctl.rst)."""

    kind: ClassVar[str] = "sysctl"
    in_place: ClassVar[frozenset[str]] = frozenset({"value"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "key"),)
    netns: str
    key: str
    value: str


KINDS: Mapping[str, type[Resource]] = {
    cls.kind: cls for cls in (Scratch, Netns, Host, Bridge, Veth, Vxlan, Flood, Address, Route, Sysctl)
}


def to_json(resource: Resource) -> dict[str, Json]:
    """The resource as JSON values, without its kind and origin."""
    out: dict[str, Json] = {}
    for f in dataclasses.fields(resource):
        if f.name == "origin":
            continue
        value = getattr(resource, f.name)
        if isinstance(value, VethEnd):
            value = {g.name: getattr(value, g.name) for g in dataclasses.fields(value)}
        out[f.name] = list(value) if isinstance(value, tuple) else value
    return out


def from_json(kind: str, data: Mapping[str, Json]) -> Resource:
    """The resource that `to_json` wrote; ValueError if it is not one that this version knows."""
    cls = KINDS.get(kind)
    if cls is None:
        raise ValueError(f"unknown kind of resource: {kind}")
    values: dict[str, object] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            values[key] = VethEnd(**value)  # type: ignore[arg-type]
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)  # type: ignore[arg-type]
    except TypeError as e:
        raise ValueError(f"not a {kind}: {e}") from e
