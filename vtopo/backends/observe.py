"""Recorded links, addresses, routes and sysctls against what the kernel has: each as it is found."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vtopo.backends import dump, messages
from vtopo.backends.base import Present
from vtopo.backends.dump import Contents, Link
from vtopo.backends.links import is_pair
from vtopo.backends.places import Places
from vtopo.backends.ports import found_bridge, found_port
from vtopo.backends.settings import read_sysctl
from vtopo.backends.traffic import as_wanted

if TYPE_CHECKING:
    from vtopo.compile.resources import (
        Address,
        Bridge,
        Flood,
        Forward,
        Neighbour,
        Resource,
        Route,
        StaticMac,
        Sysctl,
        Tap,
        Veth,
        VethEnd,
        Vxlan,
    )

_V = TypeVar("_V", bound="Vxlan")


def observe(places: Places, recorded: Sequence[Resource]) -> Mapping[str, Present]:
    """What exists; what is not vtopo's counts as missing, and so does a bridge or a tunnel that is down."""
    by_kind: dict[str, list[Any]] = defaultdict(list)
    for r in recorded:
        by_kind[r.kind].append(r)
    by_netns: dict[str, set[str]] = defaultdict(set)
    for veth in by_kind.get("veth", ()):
        by_netns[veth.left.netns].add("veth")
        by_netns[veth.right.netns].add("veth")
    for kind in _IN_ONE & by_kind.keys():
        for r in by_kind[kind]:
            by_netns[r.netns].add(kind)
    numbered: dict[str, set[str]] = defaultdict(set)
    for r in by_kind.get("address", ()):
        numbered[r.netns].add(r.device)
    contents = {netns: _look(places, netns, kinds, numbered[netns]) for netns, kinds in by_netns.items()}
    found: dict[str, Present] = {}
    for kind, find in _FIND.items():
        for r in by_kind.get(kind, ()):
            if (seen := find(r, contents)) is not None:
                found[r.id] = Present(seen)
    if any(here.added for here in contents.values()):
        _tell_of_others(by_kind.get("address", ()), contents, found)
    for tap in by_kind.get("tap", ()):
        if (seen := _tap(tap, contents)) is not None and _joined(places, seen, contents[tap.netns]):
            found[tap.id] = Present(seen)
    if tables := by_kind.get("nat"):
        from vtopo.backends import nat

        found.update((table.id, Present(table)) for table in nat.observe(places, tables))
    sysctls: dict[str, list[Sysctl]] = defaultdict(list)
    for sysctl in by_kind.get("sysctl", ()):
        sysctls[sysctl.netns].append(sysctl)
    for netns, there in sysctls.items():
        found.update(_sysctls(places, netns, there))
    return found


def _look(places: Places, netns: str, kinds: set[str], numbered: set[str]) -> Contents:
    """What there is of these kinds in a namespace, in which the interfaces `numbered` have addresses."""
    # Most hosts of a large lab have nothing but ends of cables: their loopbacks are a third of what there is to tell.
    cables_alone = kinds <= {"veth", "address"}
    try:
        contents = dump.read(
            places.socket(netns),
            addresses="address" in kinds,
            routes="route" in kinds,
            entries=not kinds.isdisjoint(("flood", "forward", "static-mac")),
            neighbours="neighbour" in kinds,
            veths=numbered if cables_alone else None,
        )
    except OSError:  # the namespace is gone, and all in it
        return Contents()
    if not cables_alone:
        places.learn(netns, contents.links)
    return contents


def _bridge(r: Bridge, contents: Mapping[str, Contents]) -> Bridge | None:
    here = contents[r.netns]
    link = _own(here, r.name, "bridge")
    if link is None:
        return None
    return dataclasses.replace(found_bridge(r, link, here), mac=link.mac, mtu=link.mtu)


def _vxlan(r: Vxlan, contents: Mapping[str, Contents]) -> Vxlan | None:
    here = contents[r.netns]
    return found_vxlan(r, here, here.name)


def _tap(r: Tap, contents: Mapping[str, Contents]) -> Tap | None:
    here = contents[r.netns]
    tap = _own(here, r.name, "tun")
    return dataclasses.replace(r, mtu=tap.mtu) if tap and r.plug in here.links else None


def _address(r: Address, contents: Mapping[str, Contents]) -> Address | None:
    here = contents[r.netns]
    return r if dump.address_key(_index(here, r.device), r.address) in here.addresses else None


def _tell_of_others(
    addresses: Sequence[Address], contents: Mapping[str, Contents], found: dict[str, Present]
) -> None:
    """Have one address of each interface tell of those that somebody has added there, if need be one that is gone."""
    of: dict[tuple[str, int], list[Address]] = defaultdict(list)
    for r in addresses:
        of[r.netns, _index(contents[r.netns], r.device)].append(r)
    for (netns, index), own in of.items():
        keys = {dump.address_key(index, r.address) for r in own}
        added = contents[netns].added.items()
        others = tuple(sorted(text for key, text in added if key[0] == index and key not in keys))
        if others:
            tells = next((r for r in own if r.id in found), own[0])
            state: Literal["set", "gone"] = "set" if tells.id in found else "gone"
            found[tells.id] = Present(dataclasses.replace(tells, others=others, state=state))


def _route(r: Route, contents: Mapping[str, Contents]) -> Route | None:
    key = (dump.canonical_network(r.destination), dump.canonical_address(r.via), r.table)
    return r if key in contents[r.netns].routes else None


def _flood(r: Flood, contents: Mapping[str, Contents]) -> Flood | None:
    here = contents[r.netns]
    return r if (_index(here, r.device), dump.canonical_address(r.remote)) in here.floods else None


def _forward(r: Forward, contents: Mapping[str, Contents]) -> Forward | None:
    here = contents[r.netns]
    remote = here.forwards.get((_index(here, r.device), r.mac.lower()))
    if remote is None or remote == dump.canonical_address(r.remote):
        return r if remote else None
    return dataclasses.replace(r, remote=remote)


def _neighbour(r: Neighbour, contents: Mapping[str, Contents]) -> Neighbour | None:
    here = contents[r.netns]
    mac = here.neighbours.get((_index(here, r.device), dump.canonical_address(r.address)))
    return (r if mac == r.mac.lower() else dataclasses.replace(r, mac=mac)) if mac else None


def _static_mac(r: StaticMac, contents: Mapping[str, Contents]) -> StaticMac | None:
    here = contents[r.netns]
    return r if (_index(here, r.device), r.mac, r.vlan) in here.static_macs else None


def _own_device(r: Any, contents: Mapping[str, Contents]) -> Resource | None:
    from vtopo.backends import own

    return own.found(r, contents[r.netns])


def _attached(r: Any, contents: Mapping[str, Contents]) -> Resource | None:
    from vtopo.backends import own

    return own.found_attached(r, contents[r.netns])


def _index(here: Contents, name: str) -> int:
    link = here.links.get(name)
    return link.index if link else -1


def _own(here: Contents, name: str, kind: str, may_be_down: bool = False) -> Link | None:
    link = here.links.get(name)
    if link is None or link.kind != kind or link.group != messages.GROUP:
        return None
    return link if link.is_up or may_be_down else None


def _veth(r: Veth, contents: Mapping[str, Contents]) -> Veth | None:
    here, there = contents[r.left.netns], contents[r.right.netns]
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


_FIND: Mapping[str, Callable[[Any, Mapping[str, Contents]], Resource | None]] = {
    "veth": _veth,
    "bridge": _bridge,
    "vxlan": _vxlan,
    "address": _address,
    "route": _route,
    "flood": _flood,
    "forward": _forward,
    "neighbour": _neighbour,
    **dict.fromkeys(("vlan", "bond", "vrf", "dummy"), _own_device),
    "attached": _attached,
    "static-mac": _static_mac,
}
"""What finds a resource of a kind, as it is, in what the dumps tell of the namespaces."""

_IN_ONE = (_FIND.keys() - {"veth"}) | {"tap"}
"""The kinds of a single namespace, which its dumps tell of."""
