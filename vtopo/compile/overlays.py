"""Tunnel ends of overlays, and what they are told of who is behind the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vtopo.compile import resources as res
from vtopo.compile.switching import overlay_port
from vtopo.model.draft import mac_of
from vtopo.model.lab import IPAddress, Lab, Overlay, Vtep
from vtopo.model.sets import Sets
from vtopo.values import dataclass


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
                for other in others:
                    yield from _entries(id_, overlay, vtep, spot, other, told[other.bridge])

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
        """By the bridge of each tunnel end, who is on its side of the overlay."""
        bridges = {bridge.name for bridge in self._lab.bridges}
        sides: Sets[str] = Sets()
        for link in self._lab.links:
            if link.left.node in bridges and link.right.node in bridges:
                sides.join(link.left.node, link.right.node)
        for other in self._lab.overlays:
            for vtep in other.vteps[1:] if other is not overlay else ():
                sides.join(other.vteps[0].bridge, vtep.bridge)
        found: dict[str, list[_Station]] = {}
        for link in self._lab.links:
            for port, end in ((link.left, link.right), (link.right, link.left)):
                if port.node in bridges and end.node not in bridges:
                    station = _Station(end.mac, tuple(address.ip for address in end.addresses))
                    found.setdefault(sides.root(port.node), []).append(station)
        for bridge in self._lab.bridges:
            if bridge.addresses:
                ips = tuple(address.ip for address in bridge.addresses)
                station = _Station(mac_of(self._lab.name, bridge.name), ips)
                found.setdefault(sides.root(bridge.name), []).append(station)
        return {vtep.bridge: found.get(sides.root(vtep.bridge), []) for vtep in overlay.vteps}


def _entries(
    id_: str, overlay: Overlay, vtep: Vtep, spot: Spot, other: Vtep, stations: Sequence[_Station]
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
        for address in station.addresses:
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
