"""What must exist for a lab to be real: one frozen dataclass per kind of resource, a module per system.

A resource has a stable id, the ids that it needs before it can be made, and the ids that take it with
them when they go. From these alone follow the plan's order, undo, and what need not be deleted one by one.
The modules are imported when something of theirs is asked for: a small lab has few kinds, and a fault is not to wait.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vtopo.compile.resources.base import Json, Resource, Unrealized

if TYPE_CHECKING:
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

_HOMES = {
    "vtopo.compile.resources.cgroups": "Cgroup Member",
    "vtopo.compile.resources.containers": "Build Container FileIn Mount Port Volume",
    "vtopo.compile.resources.devices": "Attached Bond Dummy Vlan Vrf",
    "vtopo.compile.resources.domains": "Capacity Disk Domain GuestReady HugePages Power Seed Tap",
    "vtopo.compile.resources.life": "Bind Exec File Ready Run Supervisor",
    "vtopo.compile.resources.links": (
        "Address Bridge Flood Forward MachineVxlan Neighbour Route Sysctl Veth VethEnd Vxlan"
    ),
    "vtopo.compile.resources.namespaces": "Host Netns Scratch",
    "vtopo.compile.resources.ports": "BridgePort StaticMac",
    "vtopo.compile.resources.traffic": "Impairment",
    "vtopo.compile.resources.uplinks": "Gate Macvlan Nat PortForward",
    "vtopo.model.device_limits": "DeviceAccess DeviceIo",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return found


class _Kinds(Mapping[str, type[Resource]]):
    """Every kind of resource by its name; a kind's module is imported when that kind is asked for."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def __getitem__(self, kind: str) -> type[Resource]:
        found: type[Resource] = getattr(sys.modules[__name__], self._names[kind])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


KINDS: Mapping[str, type[Resource]] = _Kinds(
    {
        "scratch": "Scratch",
        "netns": "Netns",
        "cgroup": "Cgroup",
        "host": "Host",
        "member": "Member",
        "volume": "Volume",
        "container": "Container",
        "bridge": "Bridge",
        "veth": "Veth",
        "vxlan": "Vxlan",
        "flood": "Flood",
        "forward": "Forward",
        "neighbour": "Neighbour",
        "static-mac": "StaticMac",
        "address": "Address",
        "route": "Route",
        "sysctl": "Sysctl",
        "nat": "Nat",
        "gate": "Gate",
        "macvlan": "Macvlan",
        "machine-vxlan": "MachineVxlan",
        "vlan": "Vlan",
        "bond": "Bond",
        "vrf": "Vrf",
        "dummy": "Dummy",
        "attached": "Attached",
        "capacity": "Capacity",
        "disk": "Disk",
        "seed": "Seed",
        "hugepages": "HugePages",
        "domain": "Domain",
        "tap": "Tap",
        "power": "Power",
        "guest-ready": "GuestReady",
        "supervisor": "Supervisor",
        "exec": "Exec",
        "run": "Run",
        "ready": "Ready",
        "file": "File",
        "bind": "Bind",
        "unrealized": "Unrealized",
    }
)


def to_json(resource: Resource) -> dict[str, Json]:
    """The resource as JSON values, without its kind and what takes no part in comparison, as its origin."""
    return {
        f.name: _value(getattr(resource, f.name))
        for f in dataclasses.fields(resource)
        if f.compare and not _is_left_out(f, resource)
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
    try:
        return cls(**_read_fields(data, cls))  # type: ignore[arg-type]
    except TypeError as e:
        raise ValueError(f"not a {kind}: {e}") from e


def _read_fields(data: Mapping[str, Json], cls: type) -> dict[str, object]:
    fields: dict[str, object] = dict(data)
    for name, inner, flat in _whole(cls):
        value = data.get(name)
        if flat and isinstance(value, list):
            fields[name] = tuple(value)
        elif value is not None:
            fields[name] = _read(value, inner)
    return fields


def _read(value: Json, cls: type | None) -> object:
    if isinstance(value, list):
        return tuple([_read(each, cls) for each in value])
    if isinstance(value, dict) and cls is not None:
        return cls(**_read_fields(value, cls))
    return value


@functools.cache
def _whole(cls: type) -> tuple[tuple[str, type | None, bool], ...]:
    """The fields that JSON has in another form, since they are tuples or dataclasses; most are none of these.

    Each with the dataclass in it, if there is one, and whether it is no more than a tuple of texts or numbers.
    """
    found: list[tuple[str, type | None, bool]] = []
    hints = typing.get_type_hints(cls)
    for name in (f.name for f in dataclasses.fields(cls)):
        parts = list(_parts(hints[name]))
        inner = next((p for p in parts if isinstance(p, type) and dataclasses.is_dataclass(p)), None)
        tuples = sum(part is tuple for part in parts)
        if name != "origin" and (inner or tuples):
            found.append((name, inner, inner is None and tuples == 1))
    return tuple(found)


def _parts(hint: object) -> Iterator[object]:
    """The types that a hint is made of."""
    yield typing.get_origin(hint) or hint
    for part in typing.get_args(hint):
        yield from _parts(part)
