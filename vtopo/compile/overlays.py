"""Tunnel ends of overlays, and what they are told of who is behind the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from vtopo.compile import resources as res
from vtopo.compile.switching import overlay_port
from vtopo.model.draft import mac_of
from vtopo.model.lab import IPAddress, Lab, Overlay, Port, Vtep
from vtopo.model.sets import Sets
from vtopo.values import dataclass

_Side: TypeAlias = tuple[str, int]
"""A bridge, and one of its VLANs; where it tells none apart, a tag that it passes on (0: none)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a tunnel end is: ids of its namespace and its bridge, names of the devices; `below` is the underlay's."""

    netns: str
    bridge: str
    master: str
    device: str
    below: str
    below_id: str | None


@dataclass(frozen=True, slots=True)
class _Station:
    """Who is behind a tunnel end: a MAC, and the addresses that it answers for."""

    mac: str
    addresses: tuple[IPAddress, ...]


class OverlayCompiler:
    """Resources of the overlays of one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._bridges = {bridge.name: bridge for bridge in lab.bridges}
        ports = [end.port for link in lab.links for end in (link.left, link.right) if end.port is not None]
        trunks = [port.trunk for port in ports] + [overlay.trunk for overlay in lab.overlays]
        tags = {tag for trunk in trunks for tag in trunk}
        self._tags = (0, *sorted(tags))

    def resources(self, overlay: Overlay, spots: Sequence[Spot]) -> Iterator[res.Resource]:
        """An overlay's; `spots` are those of its tunnel ends, in their order."""
        told = {} if overlay.learning else self._behind(overlay)
        for vtep, spot in zip(overlay.vteps, spots, strict=True):
            kind = "vxlan" if vtep.host is not None else "machine-vxlan"
            id_ = f"{vtep.bridge}/{overlay.name}/{kind}"
            yield self._vxlan(id_, overlay, vtep, spot)
            others = [other for other in overlay.vteps if other is not vtep]
            # A group gets what is for all of the lab's ends; nobody outside has joined it for sure.
            flooded = [] if overlay.group is not None else [other.address for other in others]
            for remote in (*flooded, *overlay.remotes):
                yield res.Flood(
                    id=f"{vtep.bridge}/{overlay.name}/flood/{remote}",
                    needs=(id_,),
                    within=(id_,),
                    origin=vtep.range,
                    netns=spot.netns,
                    device=spot.device,
                    remote=str(remote),
                )
            if told:
                # Of the addresses in its VLANs a bridge asks the VLANs' own devices (br_do_proxy_suppress_arp).
                answers = not self._bridges[vtep.bridge].aware
                for other in others:
                    yield from _entries(id_, overlay, vtep, spot, other, told[other.bridge], answers)

    def _vxlan(self, id_: str, overlay: Overlay, vtep: Vtep, spot: Spot) -> res.Vxlan:
        below = (spot.below_id,) if spot.below_id is not None else ()
        made = res.Vxlan if vtep.host is not None else res.MachineVxlan
        return made(
            id=id_,
            needs=(spot.netns, spot.bridge, *below),
            # Taking the underlay's interface away takes the tunnel with it (vxlan_netdevice_event).
            within=(spot.netns, *below),
            origin=vtep.range,
            netns=spot.netns,
            name=spot.device,
            mac=mac_of(self._lab.name, f"{vtep.bridge}/{overlay.name}"),
            vni=overlay.vni,
            port=overlay.port,
            local=str(vtep.address),
            device=spot.below,
            mtu=overlay.mtu,
            master=spot.master,
            group=str(overlay.group) if overlay.group is not None else "",
            learning=overlay.learning,
            ttl=overlay.ttl,
            tos=overlay.tos,
            bridge_port=overlay_port(overlay),
        )

    def _behind(self, overlay: Overlay) -> dict[str, list[_Station]]:
        """By the bridge of each tunnel end, who is on its side of the overlay, in the VLANs that this carries."""
        sides = self._sides(overlay)
        found: dict[_Side, list[_Station]] = {}
        for link in self._lab.links:
            for port, end in ((link.left, link.right), (link.right, link.left)):
                if port.node not in self._bridges or end.node in self._bridges:
                    continue
                trunk = port.port.trunk if port.port is not None else ()
                for tag in (0, *trunk):
                    if (spot := self._side_at(port.node, port.port or Port(), tag)) is not None:
                        ips = tuple(address.ip for address in end.addresses if tag == 0)
                        found.setdefault(sides.root(spot), []).append(_Station(end.mac, ips))
        for bridge in self._lab.bridges:
            if bridge.addresses:
                ips = tuple(address.ip for address in bridge.addresses)
                station = _Station(mac_of(self._lab.name, bridge.name), ips)
                found.setdefault(sides.root((bridge.name, bridge.vlan)), []).append(station)
        behind: dict[str, list[_Station]] = {}
        for vtep in overlay.vteps:
            spots = [self._side_at(vtep.bridge, overlay, tag) for tag in self._tags]
            here = [s for spot in spots if spot is not None for s in found.get(sides.root(spot), ())]
            behind[vtep.bridge] = list({(s.mac, s.addresses): s for s in here}.values())
        return behind

    def _sides(self, overlay: Overlay) -> Sets[_Side]:
        """The VLANs of bridges that are joined without the overlay."""
        sides: Sets[_Side] = Sets()
        for tag in self._tags:
            for link in self._lab.links:
                if link.left.node in self._bridges and link.right.node in self._bridges:
                    ends = (link.left, link.right)
                    _join(sides, [self._side_at(end.node, end.port or Port(), tag) for end in ends])
            for other in self._lab.overlays:
                if other is not overlay:
                    _join(sides, [self._side_at(vtep.bridge, other, tag) for vtep in other.vteps])
        return sides

    def _side_at(self, bridge: str, port: Port | Overlay, tag: int) -> _Side | None:
        """Where a frame is that a port of a bridge hears, with a tag or without (0); None if it does not pass."""
        if not self._bridges[bridge].aware:
            return bridge, tag
        if tag == 0:
            return (bridge, port.vlan) if port.vlan else None
        return (bridge, tag) if tag in port.trunk else None


def _join(sides: Sets[_Side], spots: Sequence[_Side | None]) -> None:
    joined = [spot for spot in spots if spot is not None]
    for spot in joined[1:]:
        sides.join(joined[0], spot)


def _entries(
    id_: str,
    overlay: Overlay,
    vtep: Vtep,
    spot: Spot,
    other: Vtep,
    stations: Sequence[_Station],
    answers: bool,
) -> Iterator[res.Resource]:
    """What one tunnel end is told of those behind another."""
    for station in stations:
        yield res.Forward(
            id=f"{vtep.bridge}/{overlay.name}/forward/{station.mac}",
            needs=(id_,),
            within=(id_,),
            origin=vtep.range,
            netns=spot.netns,
            device=spot.device,
            mac=station.mac,
            remote=str(other.address),
        )
        for address in station.addresses if answers else ():
            yield res.Neighbour(
                id=f"{vtep.bridge}/{overlay.name}/neighbour/{address}",
                needs=(spot.bridge,),
                within=(spot.bridge,),
                origin=vtep.range,
                netns=spot.netns,
                device=spot.master,
                address=str(address),
                mac=station.mac,
            )
