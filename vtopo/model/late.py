"""Pass 8: reads the properties that may ask for addresses, now that there are some."""

from __future__ import annotations

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.model.attributes import Attributes
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.expressions import Evaluator, Unknown
from vtopo.model.properties import Settings, read
from vtopo.model.schema import KIND_PLACES
from vtopo.model.scope import Variables
from vtopo.model.values import Reported


class LatePass:
    """Reads each node's late properties; nodes that one statement declared share them where they may."""

    def __init__(self, draft: Draft, attributes: Attributes, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._attributes = attributes
        self._diagnostics = diagnostics
        self._shared: dict[int, Settings] = {}

    def read(self) -> None:
        """Run the pass."""
        for node in self._draft.nodes.values():
            if not node.is_module and node.statements:
                node.late = self._of(node)

    def _of(self, node: NodeDraft) -> Settings:
        key = id(node.statements)
        shared = self._shared.get(key)
        if shared is not None:
            return shared
        self._diagnostics.via = node.via
        asked = False

        def resolve(value: ast.Expression, may_be_node: bool) -> ast.Expression:
            nonlocal asked
            if isinstance(value, ast.Late):
                asked = True
                return self._value(value, node)
            if isinstance(value, ast.Reference) and len(value.parts) > 1 and not may_be_node:
                asked = True
                return self._attribute(value, node)
            return value

        place = KIND_PLACES[node.kind]
        settings = read(node.statements, [place], self._diagnostics, node.range, late=True, resolve=resolve)
        # What a name means may differ from node to node only where there was one.
        if not asked:
            self._shared[key] = settings
        return settings

    def _value(self, late: ast.Late, node: NodeDraft) -> ast.Expression:
        evaluator = Evaluator(self._diagnostics, lambda reference: self._attributes.value(reference, node))
        assert isinstance(late.scope, Variables)
        try:
            return evaluator.value(late.expression, late.scope)
        except Unknown:
            raise Reported from None

    def _attribute(self, reference: ast.Reference, node: NodeDraft) -> ast.Expression:
        try:
            return self._attributes.value(reference, node)
        except Unknown:
            raise Reported from None
