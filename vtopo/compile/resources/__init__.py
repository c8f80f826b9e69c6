"""What must exist for a lab to be real: one frozen dataclass per kind of resource, a module per system.

A resource has a stable id, the ids that it needs before it can be made, and the ids that take it with
them when they go. From these alone follow the plan's order, undo, and what need not be deleted one by one.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping

from vtopo.compile.resources.base import Json, Resource, Unrealized
from vtopo.compile.resources.cgroups import Cgroup, Member
from vtopo.compile.resources.containers import Build, Container, FileIn, Mount, Port, Volume
from vtopo.compile.resources.devices import Attached, Bond, Dummy, Vlan, Vrf
from vtopo.compile.resources.domains import (
    Capacity,
    Disk,
    Domain,
    GuestReady,
    HugePages,
    Power,
    Seed,
    Tap,
)
from vtopo.compile.resources.life import Bind, Exec, File, Ready, Run, Supervisor
from vtopo.compile.resources.links import (
    Address,
    Bridge,
    Flood,
    Forward,
    MachineVxlan,
    Neighbour,
    Route,
    Sysctl,
    Veth,
    VethEnd,
    Vxlan,
)
from vtopo.compile.resources.namespaces import Host, Netns, Scratch
from vtopo.compile.resources.ports import BridgePort, StaticMac
from vtopo.compile.resources.traffic import Impairment
from vtopo.compile.resources.uplinks import Gate, Macvlan, Nat, PortForward
from vtopo.model.device_limits import DeviceAccess, DeviceIo

__all__ = [
    "KINDS",
    "Address",
    "Attached",
    "Bind",
    "Bond",
    "Bridge",
    "BridgePort",
    "Build",
    "Capacity",
    "Cgroup",
    "Container",
    "DeviceAccess",
    "DeviceIo",
    "Disk",
    "Domain",
    "Dummy",
    "Exec",
    "File",
    "FileIn",
    "Flood",
    "Forward",
    "Gate",
    "GuestReady",
    "Host",
    "HugePages",
    "Impairment",
    "Json",
    "MachineVxlan",
    "Macvlan",
    "Member",
    "Mount",
    "Nat",
    "Neighbour",
    "Netns",
    "Port",
    "PortForward",
    "Power",
    "Ready",
    "Resource",
    "Route",
    "Run",
    "Scratch",
    "Seed",
    "StaticMac",
    "Supervisor",
    "Sysctl",
    "Tap",
    "Unrealized",
    "Veth",
    "VethEnd",
    "Vlan",
    "Volume",
    "Vrf",
    "Vxlan",
    "from_json",
    "to_json",
]

KINDS: Mapping[str, type[Resource]] = {
    cls.kind: cls
    for cls in (
        *(Scratch, Netns, Cgroup, Host, Member),
        *(Volume, Container),
        *(Bridge, Veth, Vxlan, Flood, Forward, Neighbour, StaticMac, Address, Route, Sysctl),
        *(Nat, Gate, Macvlan, MachineVxlan),
        *(Vlan, Bond, Vrf, Dummy, Attached),
        *(Capacity, Disk, Seed, HugePages, Domain, Tap, Power, GuestReady),
        *(Supervisor, Exec, Run, Ready, File, Bind),
        Unrealized,
    )
}
"""Every kind of resource by its name."""


def to_json(resource: Resource) -> dict[str, Json]:
    """The resource as JSON values, without its kind and origin."""
    return {
        f.name: _value(getattr(resource, f.name))
        for f in dataclasses.fields(resource)
        if f.name != "origin" and not _is_left_out(f, resource)
    }


def _is_left_out(f: dataclasses.Field[object], owner: object) -> bool:
    return bool(f.metadata) and bool(getattr(owner, f.name) == f.default)


def _value(value: object) -> Json:
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {
            f.name: _value(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not _is_left_out(f, value)
        }
    assert value is None or isinstance(value, bool | int | str), value
    return value


def from_json(kind: str, data: Mapping[str, Json]) -> Resource:
    """The resource that `to_json` wrote; ValueError if it is not one that this version knows."""
    cls = KINDS.get(kind)
    if cls is None:
        raise ValueError(f"unknown kind of resource: {kind}")
    nested = _nested(cls)
    values = {key: _read(value, nested.get(key)) for key, value in data.items()}
    try:
        return cls(**values)  # type: ignore[arg-type]
    except TypeError as e:
        raise ValueError(f"not a {kind}: {e}") from e


def _read(value: Json, cls: type | None) -> object:
    if isinstance(value, list):
        return tuple(_read(each, cls) for each in value)
    if isinstance(value, dict) and cls is not None:
        nested = _nested(cls)
        return cls(**{key: _read(each, nested.get(key)) for key, each in value.items()})
    return value


def _nested(cls: type) -> Mapping[str, type]:
    """The fields whose values are dataclasses, or tuples of one, or None; by name."""
    if cls in _known:
        return _known[cls]
    found: dict[str, type] = {}
    for name, hint in typing.get_type_hints(cls).items():
        for part in (hint, *typing.get_args(hint)):
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                found[name] = part
    found.pop("origin", None)
    return _known.setdefault(cls, found)


_known: dict[type, Mapping[str, type]] = {}
