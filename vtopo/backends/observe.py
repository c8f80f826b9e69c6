"""Recorded links, addresses, routes and sysctls against what the kernel has: each as it is found."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Literal, TypeVar

from vtopo.backends import dump, messages
from vtopo.backends.base import Present
from vtopo.backends.dump import Contents, Link
from vtopo.backends.links import is_pair
from vtopo.backends.places import Places
from vtopo.backends.ports import found_bridge, found_port
from vtopo.backends.settings import read_sysctl
from vtopo.backends.traffic import as_wanted
from vtopo.compile.resources import (
    Address,
    Attached,
    Bond,
    Bridge,
    Dummy,
    Flood,
    Forward,
    Nat,
    Neighbour,
    Resource,
    Route,
    StaticMac,
    Sysctl,
    Tap,
    Veth,
    VethEnd,
    Vlan,
    Vrf,
    Vxlan,
)

_V = TypeVar("_V", bound=Vxlan)

_IN_ONE = (
    Bridge,
    Vxlan,
    Tap,
    Flood,
    Forward,
    Neighbour,
    StaticMac,
    Address,
    Route,
    *(Vlan, Bond, Vrf, Dummy, Attached),
)
"""Resources of a single namespace, which its dumps tell of."""


def observe(places: Places, recorded: Sequence[Resource]) -> Mapping[str, Present]:
    """What exists; what is not vtopo's counts as missing, and so does a bridge or a tunnel that is down."""
    by_netns: dict[str, set[str]] = defaultdict(set)
    sysctls: dict[str, list[Sysctl]] = defaultdict(list)
    for r in recorded:
        if isinstance(r, Veth):
            by_netns[r.left.netns].add(r.kind)
            by_netns[r.right.netns].add(r.kind)
        elif isinstance(r, Sysctl):
            sysctls[r.netns].append(r)
        elif isinstance(
            r,
            Bridge
            | Vxlan
            | Tap
            | Flood
            | Forward
            | Neighbour
            | StaticMac
            | Address
            | Route
            | Vlan
            | Bond
            | Vrf
            | Dummy
            | Attached,
        ):
            by_netns[r.netns].add(r.kind)
    contents = {netns: _look(places, netns, kinds) for netns, kinds in by_netns.items()}
    found: dict[str, Present] = {}
    for r in recorded:
        if (seen := _find(r, contents)) is None:
            continue
        if not isinstance(seen, Tap) or _joined(places, seen, contents[seen.netns]):
            found[r.id] = Present(seen)
    if tables := [r for r in recorded if isinstance(r, Nat)]:
        from vtopo.backends import nat

        found.update((table.id, Present(table)) for table in nat.observe(places, tables))
    for netns, there in sysctls.items():
        found.update(_sysctls(places, netns, there))
    return found


def _look(places: Places, netns: str, kinds: set[str]) -> Contents:
    try:
        contents = dump.read(
            places.socket(netns),
            addresses="address" in kinds,
            routes="route" in kinds,
            entries=not kinds.isdisjoint(("flood", "forward", "static-mac")),
            neighbours="neighbour" in kinds,
        )
    except OSError:  # the namespace is gone, and all in it
        return Contents()
    places.learn(netns, contents.links)
    return contents


def _find(r: Resource, contents: Mapping[str, Contents]) -> Resource | None:
    if isinstance(r, Veth):
        return _veth(r, contents[r.left.netns], contents[r.right.netns])
    if isinstance(r, Bridge):
        link = _own(contents[r.netns], r.name, "bridge")
        if link is None:
            return None
        return dataclasses.replace(found_bridge(r, link, contents[r.netns]), mac=link.mac, mtu=link.mtu)
    if isinstance(r, Vxlan):
        here = contents[r.netns]
        return found_vxlan(r, here, here.name)
    if isinstance(r, Tap):
        tap = _own(contents[r.netns], r.name, "tun")
        return dataclasses.replace(r, mtu=tap.mtu) if tap and r.plug in contents[r.netns].links else None
    if isinstance(r, Address):
        here = contents[r.netns]
        return r if dump.address_key(_index(here, r.device), r.address) in here.addresses else None
    if isinstance(r, Route):
        key = (dump.canonical_network(r.destination), dump.canonical_address(r.via), r.table)
        return r if key in contents[r.netns].routes else None
    if isinstance(r, Flood):
        here = contents[r.netns]
        return r if (_index(here, r.device), dump.canonical_address(r.remote)) in here.floods else None
    if isinstance(r, Forward):
        here = contents[r.netns]
        remote = here.forwards.get((_index(here, r.device), r.mac.lower()))
        if remote is None or remote == dump.canonical_address(r.remote):
            return r if remote else None
        return dataclasses.replace(r, remote=remote)
    if isinstance(r, Neighbour):
        here = contents[r.netns]
        mac = here.neighbours.get((_index(here, r.device), dump.canonical_address(r.address)))
        return (r if mac == r.mac.lower() else dataclasses.replace(r, mac=mac)) if mac else None
    if isinstance(r, Vlan | Bond | Vrf | Dummy):
        from vtopo.backends import own

        return own.found(r, contents[r.netns])
    if isinstance(r, Attached):
        from vtopo.backends import own

        return own.found_attached(r, contents[r.netns])
    if isinstance(r, StaticMac):
        here = contents[r.netns]
        return r if (_index(here, r.device), r.mac, r.vlan) in here.static_macs else None
    return None


def _index(here: Contents, name: str) -> int:
    link = here.links.get(name)
    return link.index if link else -1


def _own(here: Contents, name: str, kind: str, may_be_down: bool = False) -> Link | None:
    link = here.links.get(name)
    if link is None or link.kind != kind or link.group != messages.GROUP:
        return None
    return link if link.is_up or may_be_down else None


def _veth(r: Veth, here: Contents, there: Contents) -> Veth | None:
    left, right = (_own(at, e.name, "veth", True) for at, e in ((here, r.left), (there, r.right)))
    if left is None or right is None or not is_pair(left, right):
        return None
    return dataclasses.replace(r, left=_end(r.left, left, here), right=_end(r.right, right, there))


def _end(end: VethEnd, link: Link, here: Contents) -> VethEnd:
    master = _bridge_of(end, link, here)
    seen_mac = real_mac(link, here)
    impairment = as_wanted(here.impairments.get(link.index), end.impairment)
    port = found_port(end.bridge_port, link, here)
    found = (seen_mac, link.mtu, master, link.is_up, impairment, port)
    if found == (end.mac.lower(), end.mtu, end.master, end.state == "up", end.impairment, end.bridge_port):
        return end
    state: Literal["up", "down"] = "up" if link.is_up else "down"
    mac = end.mac if seen_mac == end.mac.lower() else seen_mac
    return dataclasses.replace(
        end, mac=mac, mtu=link.mtu, master=master, state=state, impairment=impairment, bridge_port=port
    )


def real_mac(link: Link, here: Contents) -> str:
    """The address of an interface; of one in a bond, that which it has without."""
    master = here.by_index.get(link.master) if link.master else None
    if master is not None and master.kind == "bond":
        from vtopo.backends import own_messages

        return own_messages.own_mac(link.slave) or link.mac
    return link.mac


def _bridge_of(end: VethEnd, link: Link, here: Contents) -> str | None:
    """What an end is a port of; to be part of a bond or a VRF is another resource's affair."""
    master = here.by_index.get(link.master) if link.master else None
    if master is None or (end.master is None and master.kind in ("bond", "vrf")):
        return None
    return master.name


def found_vxlan(r: _V, here: Contents, below: Callable[[int], str | None]) -> _V | None:
    """A tunnel end as it is; `below` has the names of the interfaces that it may send by."""
    link = _own(here, r.name, "vxlan")
    if link is None or link.vxlan is None:
        return None
    v = link.vxlan
    return dataclasses.replace(
        r,
        mac=link.mac,
        mtu=link.mtu,
        vni=v.vni,
        port=v.port,
        local=r.local if v.local == sent_from(r.local) else v.local,
        device=below(v.device) or "",
        master=here.name(link.master) or "",
        group=r.group if r.group and v.group == dump.canonical_address(r.group) else v.group,
        learning=v.learning if v.learning is not None else not r.learning,
        ttl=v.ttl,
        tos=v.tos,
        bridge_port=found_port(r.bridge_port, link, here),
    )


def sent_from(local: str) -> str:
    """A tunnel's address as the dumps have it: none, where the routes choose."""
    text = dump.canonical_address(local)
    return "" if ip_address(text).is_unspecified else text


def _joined(places: Places, r: Tap, here: Contents) -> bool:
    from vtopo.backends.taps import is_joined

    return is_joined(places.socket(r.netns), here.links[r.name], here.links[r.plug])


def _sysctls(places: Places, netns: str, batch: Sequence[Sysctl]) -> dict[str, Present]:
    found: dict[str, Present] = {}
    try:
        places.enter(netns)
    except OSError:
        return found
    for r in batch:
        try:
            value = read_sysctl(r.key)
        except OSError:
            continue
        found[r.id] = Present(
            r if value == " ".join(r.value.split()) else dataclasses.replace(r, value=value)
        )
    return found
