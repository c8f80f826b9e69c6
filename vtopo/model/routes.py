"""Resolves routes: each host's own, and the default routes that the bridges it is attached to give it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from vtopo.addresses import interface
from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model import lab as model
from vtopo.model.addressing import unusable
from vtopo.model.draft import EndDraft, NodeDraft, Segment
from vtopo.model.interfaces import vrf_of
from vtopo.model.names import Scope, unroll
from vtopo.model.ports import PortPass
from vtopo.model.properties import Read, Setting

_DEFAULTS = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}


class RoutePass:
    """Finds the interface of each route, on whose subnet the next hop is."""

    def __init__(
        self, lans: Sequence[Segment], scope: Scope, ports: PortPass, diagnostics: Diagnostics
    ) -> None:
        self._scope = scope
        self._ports = ports
        self._diagnostics = diagnostics
        self._uplinks = {
            end: uplinks
            for lan in lans
            if (uplinks := [node for node in lan.bridges if node.is_nat])
            for end in lan.ends()
        }

    def of(self, node: NodeDraft) -> tuple[model.Route, ...]:
        """The routes of a host."""
        self._diagnostics.via = node.via
        routes: list[model.Route] = []
        seen: dict[tuple[model.IPNetwork, str], Range] = {}
        for setting in node.late.many("route"):
            read = self._read(setting)
            if read is None:
                continue
            destination, via = read
            vrf = setting.slot("vrf", str)
            if vrf is not None and not self._is_vrf(node, vrf, setting.range):
                continue
            end = self._toward(node, via, setting.range, vrf)
            if end is None:
                continue
            table = _vrf_name(node, end)
            if (destination, table) in seen:
                self._diagnostics.add(
                    "E0205",
                    f"two routes to {destination}",
                    setting.range,
                    "a second one",
                    others=[Label(seen[destination, table], "the first")],
                )
                continue
            seen[destination, table] = setting.range
            routes.append(model.Route(destination, via, end.name, setting.range, table))
        for end, via, place in (*self._gateways(node), *self._ways_out(node)):
            destination, table = _DEFAULTS[via.version], _vrf_name(node, end)
            if (destination, table) not in seen:
                seen[destination, table] = place
                routes.append(model.Route(destination, via, end.name, place, table))
        return tuple(routes)

    def _read(self, setting: Setting[Read]) -> tuple[model.IPNetwork, model.IPAddress] | None:
        via = setting.slots["via"]
        assert isinstance(via, ipaddress.IPv4Address | ipaddress.IPv6Address)
        to = setting.slots.get("to", _DEFAULTS[via.version])
        assert isinstance(to, ipaddress.IPv4Network | ipaddress.IPv6Network)
        if to.version != via.version:
            self._diagnostics.add(
                "E0203",
                "prefix and next hop are of different families",
                setting.range,
                f"{to} by way of {via}",
            )
            return None
        return to, via

    def _toward(
        self, node: NodeDraft, via: model.IPAddress, place: Range, vrf: str | None
    ) -> EndDraft | None:
        """The interface on whose subnet the next hop is."""
        ends = [end for end in node.ends if vrf is None or _vrf_name(node, end) == vrf]
        near: list[IPInterface] = [a for end in ends for a in end.addresses]
        if any(a.ip == via for a in near):
            self._diagnostics.add(
                "E0406", f"{via} is `{node.name}`'s own address", place, "a next hop is a neighbour's"
            )
            return None
        for end in ends:
            if any(via in a.network for a in end.addresses):
                return end
        subnets = ", ".join(str(a.network) for a in near)
        self._diagnostics.add(
            "E0406",
            f"no interface of `{node.name}` reaches {via}",
            place,
            "this next hop",
            others=[Label(node.range, f"it is on {subnets}" if subnets else "it has no addresses")],
        )
        return None

    def _is_vrf(self, node: NodeDraft, name: str, place: Range) -> bool:
        names = [end.name for end in node.ends if end.peer is None and "vrf" in end.settings.found]
        if name not in names:
            help = did_you_mean(name, names, f"it has {', '.join(names)}" if names else "it makes none")
            self._diagnostics.add("E0303", f"`{node.name}` has no VRF `{name}`", place, help=help)
        return name in names

    # Gateways

    def _gateways(self, node: NodeDraft) -> Iterator[tuple[EndDraft, model.IPAddress, Range]]:
        """The next hops that a host's bridges name, with the interface that leads there."""
        for end in node.ends:
            for bridge, setting in self._gateways_near(end):
                for via in self._next_hops(bridge, setting, end):
                    own = any(a.ip == via for e in node.ends for a in e.addresses)
                    if not own and any(via in a.network for a in end.addresses):
                        yield end, via, setting.range

    def _gateways_near(self, end: EndDraft) -> Iterator[tuple[NodeDraft, Setting[Read]]]:
        """The gateways of the bridge that an interface is attached to; of one with VLANs, those of its LAN."""
        if end.lan is not None and end.lan.vlans and (end.peer is None or end.peer.node in self._ports.aware):
            for bridge, vlan in end.lan.vlans.items():
                for setting in self._ports.numbering(bridge, vlan).many("gateway") if vlan else ():
                    yield bridge, setting
        elif end.peer is not None and end.peer.node.is_bridge:
            for setting in end.peer.node.settings.many("gateway"):
                yield end.peer.node, setting

    def _ways_out(self, node: NodeDraft) -> Iterator[tuple[EndDraft, model.IPAddress, Range]]:
        """The uplinks on whose LANs a host is, with the interface that leads there."""
        for end in node.ends:
            for uplink in self._uplinks.get(end, ()):
                for address in (*(s.value for s in uplink.settings.interfaces("address")), *uplink.given):
                    if any(address.ip in own.network for own in end.addresses):
                        yield end, address.ip, uplink.range

    def check(self, bridge: NodeDraft) -> None:
        """Report gateways of a bridge that are none of its neighbours."""
        self._diagnostics.via = bridge.via
        of_vlans = [
            s for vlan in bridge.settings.many("vlan") if vlan.block for s in vlan.block.many("gateway")
        ]
        for setting in (*bridge.settings.many("gateway"), *of_vlans):
            hops = self._next_hops(bridge, setting, None, report=True)
            for via in hops if not isinstance(setting.value, ast.Reference) else ():
                fault = self._misplaced(via, bridge)
                if fault:
                    self._diagnostics.add(
                        "E0406", f"the gateway {via} is not on `{bridge.name}`", setting.range, fault
                    )

    def _misplaced(self, via: model.IPAddress, bridge: NodeDraft) -> str:
        """Why no node of a bridge can have a gateway's address, or nothing."""
        near = [a.network for end in bridge.ends if end.peer is not None for a in end.peer.addresses]
        own = [
            end
            for other in bridge.ends
            if other.peer is not None
            for end in other.peer.node.ends
            if not end.peer
        ]
        near += [
            a.network for end in own if end.lan is not None and bridge in end.lan.vlans for a in end.addresses
        ]
        networks = [subnet for subnet in (*bridge.subnets, *near) if via in subnet]
        if networks:
            return unusable(interface(via, networks[0].prefixlen))
        if bridge.subnets:
            return f"its subnet is {', '.join(map(str, bridge.subnets))}"
        if self._diagnostics.failed or not bridge.ends:
            return ""  # where an address is missing because of another error, that one says it
        return "nothing on it has an address in one subnet with this"

    def _next_hops(
        self, bridge: NodeDraft, setting: Setting[Read], near: EndDraft | None, report: bool = False
    ) -> list[model.IPAddress]:
        """The addresses of a gateway on a bridge: in the LAN of `near`, if that is known."""
        value = setting.value
        if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return [value]
        assert isinstance(value, ast.Reference)
        node = self._gateway_node(value, bridge, report)
        if node is None:
            return []
        ends = [e for e in node.ends if self._is_on(e, bridge, near)]
        addresses = [a.ip for e in ends for a in e.addresses]
        # Where an address is missing because of another error, that one says it.
        if report and not addresses and not (ends and self._diagnostics.failed):
            why = "it has no address there" if ends else "no link joins them"
            self._diagnostics.add(
                "E0406", f"`{node.name}` is no gateway of `{bridge.name}`", setting.range, why
            )
        return addresses

    def _is_on(self, end: EndDraft, bridge: NodeDraft, near: EndDraft | None) -> bool:
        """Whether an interface is on a bridge: by a link, or by a VLAN of one."""
        if end.peer is not None:
            return end.peer.node is bridge and (near is None or end.lan is near.lan or end.lan is None)
        return end.lan is not None and bridge in end.lan.vlans and (near is None or end.lan is near.lan)

    def _gateway_node(self, value: ast.Reference, bridge: NodeDraft, report: bool) -> NodeDraft | None:
        names = [part.name.text for part in value.parts]
        if any(index.items is None for part in value.parts for index in part.indices):
            if report:
                self._diagnostics.add(
                    "E0302", "a gateway is one node", value.range, "`[*]` stands for all that were declared"
                )
            return None
        if report or any(part.indices for part in value.parts):
            found = self._scope.find(value, bridge.parent) if report else None
            if report and found is not None and len(found) != 1:
                self._diagnostics.add(
                    "E0302", "a gateway is one node", value.range, f"these are {len(found)}"
                )
            if found is not None:
                return found[0] if len(found) == 1 else None
            if report:
                return None
            names = [next(iter(unroll(part)), part.name.text) for part in value.parts]
        return self._scope.single(names, bridge.parent)


def _vrf_name(node: NodeDraft, end: EndDraft) -> str:
    """The VRF that has the routes of an interface; empty: none."""
    vrf = vrf_of(node, end)
    return vrf.name if vrf is not None else ""
