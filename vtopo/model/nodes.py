"""Pass 1: declares every node, unrolled, with its settings read."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.lang.syntax_errors import RESERVED
from vtopo.model import names
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.interfaces import check_device_name
from vtopo.model.properties import Settings, read, with_article
from vtopo.model.schema import KIND_PLACES

LONGEST_HOSTNAME = 64
"""Bytes of a host name (HOST_NAME_MAX, sethostname(2))."""


def properties(block: ast.Block | None) -> list[ast.Property]:
    """The properties that stand in a block."""
    return [s for s in block.statements if isinstance(s, ast.Property)] if block is not None else []


class NodePass:
    """Walks the node statements; `families` maps the base of an index form to the names it declared."""

    def __init__(self, draft: Draft, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._diagnostics = diagnostics
        self.families: dict[str, dict[str, names.Indices]] = {}
        self.scopes: list[tuple[NodeDraft | None, Sequence[ast.Statement]]] = []

    def declare(self, statements: Sequence[ast.Statement], parent: NodeDraft | None = None) -> None:
        """Declare the nodes of a block, and those inside them."""
        self.scopes.append((parent, statements))
        for statement in statements:
            if isinstance(statement, ast.NodeStatement):
                self._diagnostics.via = statement.via
                self._node(statement, parent)
            elif parent is not None and isinstance(statement, ast.VtepStatement):
                self._diagnostics.add(
                    "E0208", "`vtep` stands in an overlay's block", statement.range, "not here"
                )
            elif parent is not None and isinstance(statement, ast.DirectionStatement):
                self._diagnostics.add(
                    "E0208", "a direction stands in a link's block", statement.range, "not here"
                )
            elif parent is not None and parent.is_module and isinstance(statement, ast.Property):
                self._diagnostics.add(
                    "E0208", f"`{statement.key.text}` belongs in a block", statement.range, "not here"
                )

    def _node(self, statement: ast.NodeStatement, parent: NodeDraft | None) -> None:
        kind, declared = statement.kind.text, statement.declared
        if parent is not None and parent.kind not in {"host", "module"}:
            self._diagnostics.add(
                "E0208",
                f"nothing lives behind {with_article(parent.kind)}",
                statement.range,
                help="declare this outside, and link it",
            )
            return
        if statement.machine is not None and statement.machine.text not in self._draft.machines:
            self._diagnostics.add(
                "E0310",
                f"unknown machine `{statement.machine.text}`",
                statement.machine.range,
                help=did_you_mean(statement.machine.text, self._draft.machines, "declare it with `machine`"),
            )
            return
        if any(index.spans is None for index in declared.indices):
            self._diagnostics.add(
                "E0208",
                "`[*]` stands for nodes that exist",
                declared.range,
                help="declare them with `[1..4]`",
            )
            return
        if declared.name.text in RESERVED:
            self._diagnostics.add(
                "E0301",
                f"`{declared.name.text}` is a word of the language",
                declared.name.range,
                "not a name",
            )
            return
        try:
            unrolled = names.unroll(declared)
            if len(self._draft.nodes) + len(unrolled) > names.MOST_NODES:
                raise names.TooMany
        except names.TooMany:
            self._diagnostics.add(
                "E0309", "this lab has too many nodes", declared.range, f"more than {names.MOST_NODES}"
            )
            return
        if len(unrolled) < names.count(declared):
            self._diagnostics.add(
                "E0301", "an index stands twice in this name", declared.range, "once is enough"
            )
        if declared.indices:
            around = f"{parent.name}." if parent is not None else ""
            self.families.setdefault(around + declared.name.text, {})
        written = properties(statement.block) if kind != "module" else []
        settings = Settings()
        if kind != "module":
            settings = read(written, [KIND_PLACES[kind]], self._diagnostics, declared.range, late=False)
        machine = statement.machine.text if statement.machine is not None else None
        for short, indices in unrolled.items():
            name = f"{parent.name}.{short}" if parent is not None else short
            node = NodeDraft(name, kind, parent, settings, declared.range, written, machine, statement.via)
            if self._add(node, short, indices, declared):
                self.declare(_nested(statement.block, kind == "module"), node)

    def _add(self, node: NodeDraft, short: str, indices: names.Indices, declared: ast.Declared) -> bool:
        earlier = self._draft.nodes.get(node.name)
        if earlier is not None:
            self._diagnostics.via = node.via  # not what its templates' properties were read through
            self._diagnostics.add(
                "E0301",
                f"`{node.name}` is declared twice",
                declared.range,
                "declared again here",
                others=[Label(earlier.range, "first declared here")]
                if earlier.range != declared.range
                else [],
            )
            return False
        self._draft.nodes[node.name] = node
        if declared.indices:
            family = node.name[: len(node.name) - len(short)] + declared.name.text
            self.families.setdefault(family, {})[node.name] = indices
        self._check_length(node, short, declared.range)
        return True

    def _check_length(self, node: NodeDraft, short: str, place: Range) -> None:
        if node.is_module:
            return
        if node.is_bridge:
            check_device_name(short, place, self._diagnostics, "a bridge's name is that of its interface")
        elif len(node.name.encode()) > LONGEST_HOSTNAME:
            self._diagnostics.add(
                "E0304",
                f"the host name `{node.name}` is too long",
                place,
                f"{len(node.name)} bytes, and the kernel takes {LONGEST_HOSTNAME}",
            )


def _nested(block: ast.Block | None, whole: bool) -> Sequence[ast.Statement]:
    if block is None or whole:
        return block.statements if block is not None else ()
    return [s for s in block.statements if not isinstance(s, ast.Property)]
