"""Pass 9: what is allowed, and hardly meant: lonely nodes, subnets that clash, neighbours that cannot talk."""

from __future__ import annotations

from collections.abc import Iterator

from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.draft import Draft, EndDraft, NodeDraft, Segment
from vtopo.model.interfaces import vrf_of
from vtopo.model.lab import IPNetwork
from vtopo.model.ports import PortPass


def warn(draft: Draft, ports: PortPass, diagnostics: Diagnostics) -> None:
    """Add the warnings of a lab without errors."""
    _lonely(draft, diagnostics)
    for segment in draft.lans:
        _strangers(segment, diagnostics)
    _same_subnet(draft, diagnostics)
    _too_much(draft, diagnostics)
    _mute(ports, diagnostics)
    diagnostics.via = None


def _mute(ports: PortPass, diagnostics: Diagnostics) -> None:
    """A port without a VLAN of a bridge that tells VLANs apart."""
    for link, end in ports.mute():
        diagnostics.via = link.via
        diagnostics.add(
            "W0607",
            f"this port of `{end.node.name}` passes nothing",
            end.range,
            "it is in no VLAN",
            help=f"other ports have VLANs, so `{end.node.name}` tells them apart; say `vlan N` or `trunk [N, M]`",
        )


def _lonely(draft: Draft, diagnostics: Diagnostics) -> None:
    """A node with no link, in a lab that has links."""
    if not draft.links:
        return
    parents = {node.parent for node in draft.nodes.values() if node.parent is not None}
    ported = {end.node for link in draft.links for end in link.ends}
    ported |= {vtep.bridge for overlay in draft.overlays for vtep in overlay.vteps}
    for node in draft.nodes.values():
        own_network = any(s.value != "none" for s in node.settings.many("network"))
        namespaces = node.settings.one("namespaces", tuple)
        own_network = own_network or (
            namespaces is not None and "net" not in namespaces.value
        )  # the machine's, then
        if node in ported or node in parents or node.is_module or own_network:
            continue
        diagnostics.via = node.via
        diagnostics.add("W0603", f"`{node.name}` has no link", node.range, "nothing can reach it")


def _strangers(segment: Segment, diagnostics: Diagnostics) -> None:
    """An end whose addresses are in no subnet of any other's on the same segment."""
    ends = [end for end in segment.ends() if end.addresses]
    if len(ends) < 2:
        return
    first = ends[0].addresses[0].network
    networks = [address.network for end in ends for address in end.addresses]
    if all(network is first or network == first for network in networks):  # most ends of a link share theirs
        return
    for version in (4, 6):
        of = [(end, [a for a in end.addresses if a.version == version]) for end in ends]
        of = [(end, addresses) for end, addresses in of if addresses]
        owners: dict[IPNetwork, int] = {}
        for _, addresses in of:
            for network in {a.network for a in addresses}:
                owners[network] = owners.get(network, 0) + 1
        if len(of) < 2 or len(owners) < 2:
            continue
        for end, addresses in of:
            if not any(owners[a.network] > 1 or _within(a, owners) for a in addresses):
                other = next(e for e, _ in of if e is not end)
                _cannot_talk(end, addresses[0], other, version, diagnostics)
                break


def _within(address: IPInterface, owners: dict[IPNetwork, int]) -> bool:
    return any(network != address.network and network.overlaps(address.network) for network in owners)


def _cannot_talk(
    end: EndDraft, address: IPInterface, other: EndDraft, version: int, diagnostics: Diagnostics
) -> None:
    diagnostics.via = end.node.via
    theirs = next(a for a in other.addresses if a.version == version)
    diagnostics.add(
        "W0604",
        f"{address} and {theirs} are neighbours and in no common subnet",
        end.range,
        f"{end.full_name} has {address}",
        others=[Label(other.range, f"{other.full_name} has {theirs}")],
        help="they cannot talk without a router between them",
    )


def _same_subnet(draft: Draft, diagnostics: Diagnostics) -> None:
    """One subnet on two segments that routers join: where a packet for it goes is a matter of luck."""
    of: dict[IPNetwork, list[tuple[int, EndDraft]]] = {}
    region = _Regions()
    for number, segment in enumerate(draft.lans):
        before: IPNetwork | None = None
        for end in segment.ends():
            if end.node.settings.value("forward", bool):
                region.join(number, _domain(end))
            for address in end.addresses:
                if address.network is before:  # as with the two ends of a link
                    continue
                before = address.network
                seen = of.setdefault(before, [])
                if not seen or seen[-1][0] != number:
                    seen.append((number, end))
    for network, places in of.items():
        if len(places) == 1 or network.prefixlen == network.max_prefixlen:
            continue
        for number, end in places[1:]:
            first_number, first = places[0]
            if region.joined(first_number, number) or _domain(first) == _domain(end):
                diagnostics.via = end.node.via
                diagnostics.add(
                    "W0605",
                    f"{network} is on two segments",
                    end.range,
                    "here too",
                    others=[Label(first.range, "the first")],
                    help="what is routed there ends on one of them only",
                )
                break


def _domain(end: EndDraft) -> tuple[NodeDraft, EndDraft | None]:
    """Who decides where packets go that come in here: a node, or a VRF of one."""
    return end.node, vrf_of(end.node, end)


class _Regions:
    """Segments that forwarding nodes join (union-find)."""

    def __init__(self) -> None:
        self._above: dict[object, object] = {}

    def _root(self, one: object) -> object:
        while (up := self._above.setdefault(one, one)) is not one and up != one:
            self._above[one] = self._above.setdefault(up, up)
            one = up
        return one

    def join(self, segment: int, router: tuple[NodeDraft, EndDraft | None]) -> None:
        self._above[self._root(segment)] = self._root(router)

    def joined(self, one: int, other: int) -> bool:
        return self._root(one) == self._root(other)


def _too_much(draft: Draft, diagnostics: Diagnostics) -> None:
    """More vCPUs than CPUs to run them on, and more memory inside a host than it has."""
    for node in draft.nodes.values():
        diagnostics.via = node.via
        vcpus, cpuset = node.settings.one("vcpus", int), node.settings.one("cpuset", tuple)
        if vcpus is not None and cpuset is not None and vcpus.value > len(cpuset.value):
            diagnostics.add(
                "W0606",
                f"`{node.name}` has {vcpus.value} vCPUs on {len(cpuset.value)} CPUs",
                vcpus.range,
                "they wait for each other",
                others=[Label(cpuset.range, "the CPUs")],
            )
    for host, inner in _nested(draft):
        limit = host.settings.one("memory", int)
        asked = sum(node.settings.value("memory", int) or 0 for node in inner)
        if limit is not None and asked > limit.value:
            diagnostics.via = host.via
            diagnostics.add(
                "W0606",
                f"the nodes behind `{host.name}` may take more memory than it",
                limit.range,
                f"they may take {asked // 2**20}MiB in all",
            )


def _nested(draft: Draft) -> Iterator[tuple[NodeDraft, list[NodeDraft]]]:
    inner: dict[NodeDraft, list[NodeDraft]] = {}
    for node in draft.nodes.values():
        if node.host is not None:
            inner.setdefault(node.host, []).append(node)
    yield from inner.items()
