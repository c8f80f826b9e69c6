"""Hands out the blocks of pools: to links, bridges and interfaces, in the order of the text."""

from __future__ import annotations

import bisect
import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from vtopo.addresses import interface
from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.lang.syntax_errors import RESERVED
from vtopo.model.draft import Draft, NodeDraft, PoolDraft
from vtopo.model.lab import IPNetwork
from vtopo.model.names import indexed, is_ranged, numbers, prefixes
from vtopo.model.properties import Setting, Settings


def declare_pools(
    statements: Sequence[ast.Statement], inside: NodeDraft | None, draft: Draft, diagnostics: Diagnostics
) -> None:
    """Declare the pools of a block that stands in the node `inside`."""
    for statement in statements:
        if isinstance(statement, ast.PoolStatement):
            diagnostics.via = statement.via
            _declare(statement, inside, draft, diagnostics)


def _declare(
    statement: ast.PoolStatement, inside: NodeDraft | None, draft: Draft, diagnostics: Diagnostics
) -> None:
    declared = statement.declared
    if any(is_ranged(index) for index in declared.indices):
        diagnostics.add("E0208", "a pool is declared one by one", declared.range)
        return
    name = indexed(declared.name.text, tuple(n for index in declared.indices for n in numbers(index)))
    draft.lost_pools.add(name)
    prefix = statement.prefix
    if not isinstance(prefix, ast.Address) or prefix.value is None or not prefix.has_length:
        if not isinstance(prefix, ast.Address) or prefix.value is not None:
            diagnostics.add("E0203", "a pool needs a prefix", prefix.range, "such as 10.1.0.0/16")
        return
    network = prefix.value.network
    if network.network_address != prefix.value.ip:
        diagnostics.add(
            "E0203",
            f"`{prefix.text}` has bits set after its length",
            prefix.range,
            f"the prefix is {network}",
        )
        return
    assert isinstance(statement.length, ast.Integer)
    length = statement.length.value
    if not network.prefixlen <= length <= network.max_prefixlen:
        diagnostics.add(
            "E0206",
            f"a block of {network} cannot be a /{length}",
            statement.length.range,
            f"from /{network.prefixlen} to /{network.max_prefixlen}",
        )
        return
    pool = PoolDraft(name, inside, network, length, declared.range)
    first = next((p.range for p in draft.pools if p.name == name and p.inside is inside), None)
    full = f"{inside.name}.{name}" if inside is not None else name
    if first is None and full in draft.nodes:
        first = draft.nodes[full].range
    if name in RESERVED:
        diagnostics.add("E0301", f"`{name}` is a word of the language", declared.range, "not a name")
    elif first is not None:
        others = [Label(first, "first declared here")]
        diagnostics.add(
            "E0301", f"`{name}` is declared twice", declared.range, "declared again here", others=others
        )
    else:
        draft.pools.append(pool)
        draft.lost_pools.discard(name)


class PoolPass:
    """Hands out what pools have; blocks that overlap a subnet or address that is written are passed over."""

    def __init__(self, draft: Draft, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._diagnostics = diagnostics
        self._next: dict[PoolDraft, int] = {}
        self._written: dict[PoolDraft, tuple[list[int], list[int]]] = {}

    def hand_out(self) -> None:
        """Run the pass: links first, then bridges, then interfaces; each in the order of the text."""
        for link in self._draft.links:
            link.subnets += link.settings.networks("subnet")
            if link.settings.found.get("pool") and not link.bridges:
                self._diagnostics.via = link.via
                link.subnets += self._blocks(link.settings, link.inside, link.range)
            elif link.settings.found.get("pool"):
                self._diagnostics.add(
                    "E0407",
                    "a link to a bridge is numbered by the bridge",
                    link.settings.found["pool"][0].range,
                    help=f"write the pool in the block of `bridge {link.bridges[0].name}`",
                )
        for node in self._draft.nodes.values():
            self._diagnostics.via = node.via
            if node.is_bridge and node.settings.found.get("pool"):
                for subnet in self._blocks(node.settings, node.parent, node.range):
                    node.pooled.append(subnet)
            for end in node.ends:
                if end.peer is None:
                    end.given += self._addresses(end.settings, node, end.range)
        for pool in self._draft.pools:
            if not pool.used and not self._diagnostics.failed:
                self._diagnostics.add("W0602", f"the pool `{pool.name}` is not used", pool.range)

    def _addresses(self, settings: Settings, node: NodeDraft, place: Range) -> Iterator[IPInterface]:
        """The addresses that pools give an interface of a node's own: the first of the next block."""
        for block in self._blocks(settings, node.parent, place):
            network = block.value
            first = network.network_address + (network.num_addresses > 2)
            yield interface(first, network.prefixlen)

    def _blocks(
        self, settings: Settings, inside: NodeDraft | None, place: Range
    ) -> Iterator[Setting[IPNetwork]]:
        for wanted in settings.texts("pool"):
            pool = self._find(wanted, inside)
            block = self._take(pool, place) if pool is not None else None
            if block is not None:
                yield Setting(block, wanted.range)

    def _find(self, wanted: Setting[str], inside: NodeDraft | None) -> PoolDraft | None:
        for prefix in prefixes(inside):
            for pool in self._draft.pools:
                around = f"{pool.inside.name}." if pool.inside is not None else ""
                if around == prefix and pool.name == wanted.value:
                    pool.used = True
                    return pool
        if wanted.value in self._draft.lost_pools:
            return None
        names = [pool.name for pool in self._draft.pools]
        help = did_you_mean(wanted.value, names, "declare it: `pool NAME 10.1.0.0/16 split /31`")
        self._diagnostics.add("E0310", f"unknown pool `{wanted.value}`", wanted.range, help=help)
        return None

    def _take(self, pool: PoolDraft, place: Range) -> IPNetwork | None:
        """The next block that nothing written lies in."""
        step = pool.prefix.max_prefixlen - pool.length
        base = int(pool.prefix.network_address)
        count = 1 << (pool.length - pool.prefix.prefixlen)
        at = self._next.get(pool, 0)
        while at < count:
            first = base + (at << step)
            last = first + (1 << step) - 1
            clash = self._clash(pool, first, last)
            if clash is None:
                self._next[pool] = at + 1
                return ipaddress.ip_network((first, pool.length))
            at = max(at + 1, ((clash - base) >> step) + 1)
        self._next[pool] = count
        self._diagnostics.add(
            "E0403",
            f"the pool `{pool.name}` has run dry",
            pool.range,
            f"{count} block{'s' if count > 1 else ''} of /{pool.length}",
            others=[Label(place, "no block is left for this")],
            help="use a shorter prefix, or smaller blocks",
        )
        return None

    def _clash(self, pool: PoolDraft, first: int, last: int) -> int | None:
        """The last number of something written that lies in a block."""
        if pool not in self._written:
            self._written[pool] = _disjoint(self._taken(pool.prefix))
        starts, ends = self._written[pool]
        at = bisect.bisect_right(starts, last) - 1
        return ends[at] if at >= 0 and ends[at] >= first else None

    def _taken(self, prefix: IPNetwork) -> Iterator[tuple[int, int]]:
        """What is written of a pool's prefix: subnets whole, and addresses' networks."""
        for network in self._networks():
            if (
                network.version == prefix.version
                and network.overlaps(prefix)
                and network.prefixlen >= prefix.prefixlen
            ):
                yield int(network.network_address), int(network.broadcast_address)

    def _networks(self) -> Iterator[IPNetwork]:
        draft = self._draft
        for settings in (
            *(link.settings for link in draft.links),
            *(node.settings for node in draft.nodes.values() if node.is_bridge),
            *(overlay.settings for overlay in draft.overlays),
        ):
            yield from (s.value for s in settings.networks("subnet"))
            for vlan in settings.many("vlan"):
                yield from (s.value for s in vlan.block.networks("subnet")) if vlan.block is not None else ()
        for node in draft.nodes.values():
            for end in node.ends:
                yield from (s.value.network for s in end.written)
            yield from (s.value.network for s in node.settings.interfaces("address"))


def _disjoint(stretches: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The starts and ends of stretches of numbers in order, those that overlap made one."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(stretches):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
