"""Pass 2: plugs links in; pairs up ranges, fans out the end that has none."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model import names
from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft
from vtopo.model.lab import IPAddress
from vtopo.model.nodes import properties
from vtopo.model.properties import Setting, Settings, read
from vtopo.model.schema import SCHEMA, Place
from vtopo.model.values import Read
from vtopo.values import dataclass

_OF_ENDS = frozenset(SCHEMA[Place.END]) - frozenset(SCHEMA[Place.LINK])
"""The properties that an end has, and no link."""


@dataclass(slots=True)
class _End:
    """An endpoint as written, its nodes found and its own block read, before the link is unrolled."""

    written: ast.Endpoint
    nodes: list[NodeDraft]
    settings: Settings

    @property
    def ranged(self) -> bool:
        return any(names.is_ranged(i) for part in self.written.node.parts for i in part.indices)


class LinkPass:
    """Walks the link statements of every block."""

    def __init__(self, draft: Draft, scope: names.Scope, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._scope = scope
        self._diagnostics = diagnostics

    def connect(self, statements: Sequence[ast.Statement], inside: NodeDraft | None) -> None:
        """Plug in the links of a block that stands in the node `inside`."""
        for statement in statements:
            if isinstance(statement, ast.LinkStatement):
                self._diagnostics.via = statement.via
                self._link(statement, inside)

    def _link(self, statement: ast.LinkStatement, inside: NodeDraft | None) -> None:
        settings, only_right = self._settings(statement)
        left = self._end(statement.left, inside, {})
        right = self._end(statement.right, inside, only_right)
        if left is None or right is None:
            return
        directions = self._directions(statement, left, right, inside)
        if directions is None:
            return
        pairs = pair_up(left.nodes, left.ranged, right.nodes, right.ranged)
        if pairs is None:
            self._lengths(left, right)
            return
        if len(self._draft.links) + len(pairs) > names.MOST_NODES:
            self._diagnostics.add(
                "E0309", "this lab has too many links", statement.range, f"more than {names.MOST_NODES}"
            )
            return
        for a, b in pairs:
            ends = self._make(left, a), self._make(right, b)
            self._draft.links.append(
                LinkDraft(*ends, settings, *directions, statement.range, statement.via, inside)
            )

    def _settings(self, statement: ast.LinkStatement) -> tuple[Settings, dict[str, list[Setting[Read]]]]:
        """The link's own settings, and those that a single block at the end gives the right end alone."""
        places = [Place.LINK] if statement.right.block is not None else [Place.LINK, Place.END]
        settings = read(properties(statement.block), places, self._diagnostics, statement.range)
        for other in statement.block.statements if statement.block is not None else ():
            if not isinstance(other, ast.Property | ast.DirectionStatement):
                self._diagnostics.add(
                    "E0208", "a link holds properties and directions only", other.range, "not here"
                )
        if not settings.found:
            return settings, {}
        return settings, {name: settings.found.pop(name) for name in _OF_ENDS & settings.found.keys()}

    def _directions(
        self, statement: ast.LinkStatement, left: _End, right: _End, inside: NodeDraft | None
    ) -> tuple[Settings, Settings] | None:
        """What holds from left to right only, and what the other way; None after an error."""
        if statement.block is None:
            return Settings(), Settings()
        written: dict[bool, list[ast.Property]] = {True: [], False: []}
        for other in statement.block.statements:
            if isinstance(other, ast.DirectionStatement):
                forth = self._is_forth(other, left, right, inside)
                if forth is None:
                    return None
                written[forth] += properties(other.block)
        place = [Place.DIRECTION]
        forth_, back = (
            read(written[way], place, self._diagnostics, statement.range) for way in (True, False)
        )
        return forth_, back

    def _is_forth(
        self, direction: ast.DirectionStatement, left: _End, right: _End, inside: NodeDraft | None
    ) -> bool | None:
        """Whether a direction leads from the left end to the right one; None after an error."""
        arrow = direction.arrow.text == "->"
        if direction.left is None or direction.right is None:
            return arrow
        one, other = self._scope.find(direction.left, inside), self._scope.find(direction.right, inside)
        if one is None or other is None:
            return None
        here, there = set(left.nodes), set(right.nodes)
        if here == there:
            self._diagnostics.add(
                "E0208", "both ends are of one node", direction.range, "write `->` or `<-` without names"
            )
            return None
        if set(one) <= here and set(other) <= there:
            return arrow
        if set(one) <= there and set(other) <= here:
            return not arrow
        self._diagnostics.add(
            "E0302",
            "this direction is not of this link",
            direction.range,
            others=[Label(left.written.node.range, "from here"), Label(right.written.node.range, "to here")],
        )
        return None

    def _end(
        self, written: ast.Endpoint, inside: NodeDraft | None, more: dict[str, list[Setting[Read]]]
    ) -> _End | None:
        settings = read(properties(written.block), [Place.END], self._diagnostics, written.range)
        settings.found.update(more)
        nodes = self._scope.find(written.node, inside)
        if nodes is None:
            return None
        if nodes and nodes[0].is_module:
            self._diagnostics.add(
                "E0306",
                f"`{nodes[0].name}` is a module",
                written.node.range,
                "a link ends at a node",
                help=f"write `{nodes[0].name}.NODE`",
            )
            return None
        if nodes and nodes[0].is_bridge and written.addresses:
            bridge = nodes[0].name
            self._diagnostics.add(
                "E0407",
                "a bridge's port has no address",
                written.addresses[0].range,
                help=f"for an address of the bridge itself write `bridge {bridge} {{ address … }}`",
            )
            return None
        return _End(written, nodes, settings)

    def _lengths(self, left: _End, right: _End) -> None:
        self._diagnostics.add(
            "E0307",
            "the two sides of this link are of different lengths",
            right.written.node.range,
            f"{len(right.nodes)} nodes",
            others=[Label(left.written.node.range, f"{len(left.nodes)} nodes")],
            help="ranges on both sides pair up, one to one",
        )

    def _make(self, end: _End, node: NodeDraft) -> EndDraft:
        written: list[Setting[IPInterface]] = []
        bare: list[Setting[IPAddress]] = []
        for address in end.written.addresses:
            if address.value is None:
                continue
            if address.has_length:
                written.append(Setting(address.value, address.range))
            else:
                bare.append(Setting(address.value.ip, address.range))
        numbered = not end.written.unnumbered
        place = _place(end.written)
        port = end.written.port
        assert port is None or isinstance(port, ast.Word)
        return EndDraft(node, port, written, bare, numbered, end.settings, place)


def _place(written: ast.Endpoint) -> Range:
    return written.node.range if written.port is None else written.node.range.to(written.port.range)


def pair_up(
    left: list[NodeDraft], left_ranged: bool, right: list[NodeDraft], right_ranged: bool
) -> list[tuple[NodeDraft, NodeDraft]] | None:
    """The pairs of two sides: an end that is no range fans out, two ranges pair up; None if their lengths differ."""
    if left_ranged and not right_ranged:
        right = right * len(left)
    elif right_ranged and not left_ranged:
        left = left * len(right)
    return list(zip(left, right, strict=True)) if len(left) == len(right) else None
