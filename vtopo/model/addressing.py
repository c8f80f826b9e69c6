"""Pass 6: checks written addresses against their subnets and hands out the others."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import field

from vtopo.addresses import interface
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft, Segment
from vtopo.model.interfaces import vrf_of
from vtopo.model.lab import IPAddress, IPNetwork
from vtopo.model.ports import PortPass
from vtopo.model.properties import Setting
from vtopo.values import dataclass

_DEFAULTS = tuple(ipaddress.ip_network(f"192.168.{number}.0/24") for number in range(255, -1, -1))
"""What an uplink's subnet may be that nobody has said, and that seldom is anybody else's."""


@dataclass(slots=True)
class _Pool:
    """A subnet with a mark of how far it has been handed out."""

    network: IPNetwork
    range: Range
    next: int
    last: int

    @classmethod
    def of(cls, setting: Setting[IPNetwork]) -> _Pool:
        """The host addresses of a subnet: all of a /31, /32, /127 or /128, else without network and broadcast."""
        network = setting.value
        first, last = int(network.network_address), int(network.broadcast_address)
        if network.num_addresses > 2:
            # IPv6 has no broadcast, but its first address is the routers' anycast (RFC 4291, 2.6.1).
            first, last = first + 1, last - (network.version == 4)
        return cls(network, setting.range, first, last)

    @property
    def size(self) -> int:
        return self.last - int(self.network.network_address) + (self.network.num_addresses <= 2)


@dataclass(slots=True)
class _Book:
    """Who has which address in one segment."""

    taken: dict[IPAddress, Range] = field(default_factory=dict)


class AddressPass:
    """Numbers every segment: explicit addresses of the whole lab first, then the rest in order."""

    def __init__(self, draft: Draft, ports: PortPass, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._ports = ports
        self._diagnostics = diagnostics
        self._books: dict[int, _Book] = {}
        self._used: list[IPNetwork] = []

    def number(self) -> None:
        """Run the pass."""
        pools: dict[int, dict[NodeDraft | LinkDraft, list[_Pool]]] = {}
        self._own_interfaces()
        for segment in self._draft.lans:
            self._books[id(segment)] = _Book()
            pools[id(segment)] = self._pools(segment)
            self._written(segment, pools[id(segment)])
        self._own_twice()
        for segment in self._draft.lans:
            self._uplinks(segment, pools[id(segment)])
        for segment in self._draft.lans:
            for link in segment.links:
                self._diagnostics.via = link.via
                self._hand_out(segment, link, pools[id(segment)])
            for end in segment.own:
                self._diagnostics.via = end.node.via
                self._number(segment, end, _all(segment, pools[id(segment)]))

    # Subnets

    def _pools(self, segment: Segment) -> dict[NodeDraft | LinkDraft, list[_Pool]]:
        """The subnets of each bridge, or of the one link; a bridge without any takes its neighbours'."""
        pools: dict[NodeDraft | LinkDraft, list[_Pool]] = {}
        for link in segment.links:
            settings = link.subnets
            if settings and link.bridges:
                self._diagnostics.add(
                    "E0407",
                    "a link to a bridge is numbered by the bridge",
                    settings[0].range,
                    help=f"write the subnet in the block of `bridge {link.bridges[0].name}`",
                )
            elif not link.bridges:
                pools[link] = self._own(settings)
        shared: dict[IPNetwork, _Pool] = {}
        for overlay in segment.overlays:
            for setting in overlay.settings.networks("subnet"):
                shared.setdefault(setting.value, _Pool.of(setting))
        for bridge in segment.bridges:
            numbering = self._ports.numbering(bridge, segment.vlans.get(bridge, 0))
            own = self._own(numbering.networks("subnet") + bridge.pooled)
            if bridge.is_nat:
                have = {pool.network.version for pool in own}
                around = bridge.settings.interfaces("address")
                own += [pool for pool in _around(around) if pool.network.version not in have]
            pools[bridge] = [shared.setdefault(p.network, p) for p in own]
        uplink = next((bridge for bridge in segment.bridges if bridge.is_nat), None)
        if uplink is not None and not shared:
            pools[uplink] = [shared.setdefault(p.network, p) for p in self._default(segment, uplink)]
        for bridge in segment.bridges:
            have = {p.network.version for p in pools[bridge]}
            for version in {4, 6} - have:
                candidates = [p for p in shared.values() if p.network.version == version]
                if len(candidates) > 1:
                    self._two_candidates(bridge, candidates)
                pools[bridge] = pools[bridge] + candidates[:1]
            bridge.subnets += [p.network for p in sorted(pools[bridge], key=_version)]
        return pools

    def _own(self, settings: list[Setting[IPNetwork]]) -> list[_Pool]:
        by_version: dict[int, Setting[IPNetwork]] = {}
        for setting in settings:
            fault = _unusable_whole(setting.value)
            if fault:
                self._diagnostics.add(
                    "E0404", f"no interface can have an address of {setting.value}", setting.range, fault
                )
            first = by_version.setdefault(setting.value.version, setting)
            if first is not setting:
                self._diagnostics.add(
                    "E0405",
                    f"two IPv{setting.value.version} subnets in one block",
                    setting.range,
                    "a second one",
                    others=[Label(first.range, "the first")],
                    help="one subnet a family",
                )
        return [_Pool.of(s) for s in by_version.values()]

    def _two_candidates(self, bridge: NodeDraft, candidates: list[_Pool]) -> None:
        self._diagnostics.add(
            "E0405",
            f"`{bridge.name}` is joined to two subnets and names none",
            bridge.range,
            help="write its `subnet`",
            others=[Label(c.range, f"{c.network}") for c in candidates[:2]],
        )

    def _default(self, segment: Segment, uplink: NodeDraft) -> list[_Pool]:
        """The subnets of an uplink without any: those that its neighbours are in, else one that the lab has not."""
        if near := _around([s for end in segment.ends() for s in end.written]):
            return near
        if not self._used:
            draft = self._draft
            self._used += [s.value for o in draft.overlays for s in o.settings.networks("subnet")]
            for node in draft.nodes.values():
                self._used += [s.value for s in (*node.settings.networks("subnet"), *node.pooled)]
                self._used += [s.value.network for s in node.settings.interfaces("address")]
                self._used += [s.value.network for end in node.ends for s in end.written]
            self._used += [s.value for link in draft.links for s in link.subnets]
        for network in _DEFAULTS:
            if not any(used.version == 4 and used.overlaps(network) for used in self._used):
                self._used.append(network)
                return [_Pool.of(Setting(network, uplink.range))]
        self._diagnostics.add(
            "E0407", f"`{uplink.name}` has no subnet", uplink.range, "the lab uses all of 192.168.0.0/16"
        )
        return []

    # Written addresses

    def _own_interfaces(self) -> None:
        """The addresses of the interfaces that nodes have by themselves."""
        for node in self._draft.nodes.values():
            for end in node.ends:
                for setting in end.written if end.peer is None else ():
                    fault = unusable(setting.value)
                    if fault:
                        self._diagnostics.add(
                            "E0404", f"no interface can have {setting.value.ip}", setting.range, fault
                        )

    def _written(self, segment: Segment, pools: dict[NodeDraft | LinkDraft, list[_Pool]]) -> None:
        for bridge in segment.bridges:
            settings = self._ports.numbering(bridge, segment.vlans.get(bridge, 0))
            for setting in settings.interfaces("address"):
                self._take(segment, setting, pools[bridge], bridge.name)
        for link in segment.links:
            self._diagnostics.via = link.via
            mine = self._here(link, pools)
            for end in link.ends:
                if end.node.is_bridge or end.lan not in (segment, None):
                    continue
                self._complete(end, mine)
                for setting in end.written:
                    self._take(segment, setting, mine, end.full_name)
        for end in segment.own:
            self._diagnostics.via = end.node.via
            for setting in end.written:
                self._take(segment, setting, _all(segment, pools), end.full_name)

    def _complete(self, end: EndDraft, pools: list[_Pool]) -> None:
        """An address without a length takes that of its subnet."""
        for setting in end.bare:
            for pool in pools:
                if setting.value in pool.network:
                    whole = interface(setting.value, pool.network.prefixlen)
                    end.written.append(Setting(whole, setting.range))
                    break
            else:
                same = [p for p in pools if p.network.version == setting.value.version]
                if same:
                    self._outside(setting.value, setting.range, same[0])
                else:
                    self._diagnostics.add(
                        "E0402",
                        "this address needs a prefix length",
                        setting.range,
                        f"such as {setting.value}/{24 if setting.value.version == 4 else 64}",
                        help="only where a `subnet` covers it may the length be left out",
                    )

    def _take(self, segment: Segment, setting: Setting[IPInterface], pools: list[_Pool], owner: str) -> None:
        address = setting.value
        fault = unusable(address)
        if fault:
            self._diagnostics.add("E0404", f"no interface can have {address.ip}", setting.range, fault)
            return
        ip = address.ip
        same = [p for p in pools if p.network.version == address.version]
        if same and ip not in same[0].network:
            self._outside(ip, setting.range, same[0])
        elif same and address.network != same[0].network:
            self._diagnostics.add(
                "E0402",
                f"{address} has another prefix length than its subnet",
                setting.range,
                f"/{address.network.prefixlen}",
                others=[Label(same[0].range, f"the subnet is a /{same[0].network.prefixlen}")],
            )
        taken = self._books[id(segment)].taken
        many = len(taken)
        first = taken.setdefault(ip, setting.range)
        if len(taken) == many:
            self._twice(ip, setting.range, first)

    def _outside(self, address: IPAddress, place: Range, pool: _Pool) -> None:
        self._diagnostics.add(
            "E0402",
            f"{address} is outside its subnet",
            place,
            f"not in {pool.network}",
            others=[Label(pool.range, "the subnet")],
        )

    def _twice(self, address: IPAddress, place: Range, first: Range) -> None:
        same = place == first
        self._diagnostics.add(
            "E0401",
            f"{address} is given twice",
            place,
            "to every link that this makes" if same else "given again here",
            others=[] if same else [Label(first, "first given here")],
            help="leave addresses out and let a `subnet` number the ends" if same else "",
        )

    def _own_twice(self) -> None:
        """One node with one address on two of its interfaces."""
        for node in self._draft.nodes.values():
            if len(node.ends) < 2:
                continue
            self._diagnostics.via = node.via
            seen: dict[tuple[IPAddress, EndDraft | None], Range] = {}
            for end in node.ends:
                vrf = vrf_of(node, end)
                for setting in end.written:
                    first = seen.setdefault((setting.value.ip, vrf), setting.range)
                    if first is not setting.range:
                        self._twice(setting.value.ip, setting.range, first)

    # Numbering

    def _uplinks(self, segment: Segment, pools: dict[NodeDraft | LinkDraft, list[_Pool]]) -> None:
        """An uplink has an address of each subnet before the ends of links get theirs: people look for it there."""
        for uplink in segment.bridges:
            if not uplink.is_nat:
                continue
            have = {s.value.version for s in uplink.settings.interfaces("address")}
            for pool in sorted(pools[uplink], key=_version):
                if pool.network.version not in have:
                    self._diagnostics.via = uplink.via
                    uplink.given += self._next(segment, uplink.range, pool)

    def _hand_out(
        self, segment: Segment, link: LinkDraft, pools: dict[NodeDraft | LinkDraft, list[_Pool]]
    ) -> None:
        for end in link.ends:
            if not end.node.is_bridge and end.lan in (segment, None):
                self._number(segment, end, self._here(link, pools))

    def _here(self, link: LinkDraft, pools: dict[NodeDraft | LinkDraft, list[_Pool]]) -> list[_Pool]:
        """What numbers the ends of a link: its bridge, or itself."""
        return pools.get(link.bridges[0] if link.bridges else link, [])

    def _number(self, segment: Segment, end: EndDraft, pools: list[_Pool]) -> None:
        if not (end.numbered and pools):
            return
        have = {s.value.version for s in end.written} | {s.value.version for s in end.bare}
        have |= {address.version for address in end.given}
        for pool in sorted(pools, key=_version):
            if pool.network.version not in have:
                end.given += self._next(segment, end.range, pool)

    def _next(self, segment: Segment, owner: Range, pool: _Pool) -> list[IPInterface]:
        """The next address of a pool; none if it has run dry."""
        taken = self._books[id(segment)].taken
        family = ipaddress.IPv4Address if pool.network.version == 4 else ipaddress.IPv6Address
        while pool.next <= pool.last:
            address = family(pool.next)
            pool.next += 1
            if address not in taken:
                taken[address] = owner
                return [interface(address, pool.network.prefixlen)]
        self._diagnostics.add(
            "E0403",
            f"the subnet {pool.network} has run dry",
            pool.range,
            f"room for {pool.size}",
            others=[Label(owner, "no address is left for this")],
            help="use a shorter prefix",
        )
        return []


def _around(addresses: Sequence[Setting[IPInterface]]) -> list[_Pool]:
    """The subnet of the first address of each family."""
    first: dict[int, Setting[IPInterface]] = {}
    for setting in addresses:
        first.setdefault(setting.value.version, setting)
    return [_Pool.of(Setting(s.value.network, s.range)) for s in first.values()]


def _all(segment: Segment, pools: dict[NodeDraft | LinkDraft, list[_Pool]]) -> list[_Pool]:
    """What numbers an interface of a node's own: of each family the first subnet of its LAN."""
    by_version: dict[int, _Pool] = {}
    owners: list[NodeDraft | LinkDraft] = [*segment.bridges, *segment.links]
    for owner in owners:
        for pool in pools.get(owner, ()):
            by_version.setdefault(pool.network.version, pool)
    return list(by_version.values())


def _version(pool: _Pool) -> int:
    return pool.network.version


def _unusable_whole(network: IPNetwork) -> str:
    """Why no interface can have any address of `network`, or nothing."""
    if network.is_multicast:
        return "multicast addresses"
    return "loopback addresses" if network.is_loopback else ""


def unusable(address: IPInterface) -> str:
    """Why no interface can have `address`, or nothing."""
    network, ip = address.network, address.ip
    if not (network.version == 4 and 0 < int(ip) >> 24 < 127):  # most addresses are told by their first byte
        if ip.is_multicast:
            return "a multicast address"
        if ip.is_unspecified:
            return "the unspecified address"
        if ip.is_loopback:
            return "a loopback address"
    if network.version == 4 and network.prefixlen < 31:
        if ip == network.network_address:
            return f"the network address of {network}"
        if ip == network.broadcast_address:
            return f"the broadcast address of {network}"
    return ""
