"""Variables: what `param`, `let` and `for` name, worked out when they are first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from vtopo.lang import ast
from vtopo.model.schema import Property
from vtopo.values import dataclass


@dataclass(slots=True)
class Variable:
    """A name with its expression; `value` once it is worked out. While `busy`, it is being worked out."""

    name: ast.Word
    expression: ast.Expression | None
    scope: Variables
    value: ast.Value | None = None
    busy: bool = False
    failed: bool = False


@dataclass(slots=True)
class Variables:
    """The variables of one block, and of those around it.

    `self_` is the node being declared, if any; `known` are the properties that the block may hold.
    """

    parent: Variables | None = None
    own: dict[str, Variable] = field(default_factory=dict)
    self_: Self | None = None
    known: Mapping[str, Property] | None = None

    def find(self, name: str) -> Variable | None:
        """The variable of this name that can be seen from here."""
        return next((scope.own[name] for scope in self._outward() if name in scope.own), None)

    def names(self) -> Iterator[str]:
        """All names that can be seen from here."""
        for scope in self._outward():
            yield from scope.own

    def node(self) -> Self | None:
        """What `self` means here."""
        return next((scope.self_ for scope in self._outward() if scope.self_ is not None), None)

    def property(self, name: str) -> Property | None:
        """The property of this name that may stand here."""
        for scope in self._outward():
            if scope.known is not None:
                return scope.known.get(name)
        return None

    def _outward(self) -> Iterator[Variables]:
        scope: Variables | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(frozen=True, slots=True)
class Self:
    """The node being declared: its name in its block, and the numbers of its indices."""

    name: str
    indices: tuple[int | str, ...]
