"""Names: unrolls indices into names, and finds the nodes that a reference means."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.suggest import did_you_mean
from vtopo.model.draft import NodeDraft
from vtopo.values import dataclass

MOST_NODES = 1_000_000
"""A lab of more nodes or links than this is refused."""

MOST_STATEMENTS = 200_000
"""What loops, templates and modules make of a lab in all: turns and statements. (A range is one statement.)"""


class TooMany(Exception):
    """More names than a lab may have."""


Indices: TypeAlias = tuple[int | str, ...]
"""What a node's indices are: numbers, and strings as in `br["red"]`."""


def numbers(index: ast.Index) -> Iterable[int | str]:
    """The numbers and strings of an index in order; not for `[*]`."""
    assert index.spans is not None
    return itertools.chain.from_iterable(
        (s,) if isinstance(s, str) else range(s.first, s.last + 1) for s in index.spans
    )


def is_ranged(index: ast.Index) -> bool:
    """Whether an index stands for several by its form: `[1..4]`, `[1, 3]` or `[*]`, but not `[1]`."""
    if _number(index) is not None:
        return False
    spans = index.spans
    return spans is None or len(spans) > 1 or any(not isinstance(s, str) and s.ranged for s in spans)


def _number(index: ast.Index) -> int | None:
    """The number that an index is, if it is just one: most are."""
    items = index.items
    if items is not None and len(items) == 1 and isinstance(items[0], ast.Integer):
        return items[0].value
    return None


def _one_name(part: ast.Declared) -> str | None:
    """The name that a part stands for, if it is `h` or `h[3]`."""
    if not part.indices:
        return part.name.text
    number = _number(part.indices[0]) if len(part.indices) == 1 else None
    return f"{part.name.text}{number}" if number is not None else None


def indexed(base: str, indices: Indices) -> str:
    """`h` and 1 is h1, `pod` and 1 and 2 is pod1-2, `br` and "red" is br-red."""
    name = base
    for position, index in enumerate(indices):
        name += f"-{index}" if position or isinstance(index, str) else str(index)
    return name


def count(declared: ast.Declared) -> int:
    """How many names `h[1..3]` stands for."""
    product = 1
    for index in declared.indices:
        assert index.spans is not None
        product *= sum(1 if isinstance(s, str) else s.count for s in index.spans)
    return product


def unroll(declared: ast.Declared) -> dict[str, Indices]:
    """The names that `h[1..3]` stands for, with their indices.

    A second index is joined by a hyphen; the last varies fastest.
    """
    if count(declared) > MOST_NODES:
        raise TooMany
    base = declared.name.text
    if not declared.indices:
        return {base: ()}
    combinations = itertools.product(*map(numbers, declared.indices))
    return {indexed(base, indices): indices for indices in combinations}


def _fits(indices: Indices, pattern: tuple[ast.Index, ...]) -> bool:
    """Whether `[2][*]` means a node that was declared with these indices."""
    return len(indices) == len(pattern) and all(
        index.spans is None or any(_holds(s, number) for s in index.spans)
        for number, index in zip(indices, pattern, strict=True)
    )


def _holds(span: ast.Span | str, number: int | str) -> bool:
    if isinstance(span, str) or isinstance(number, str):
        return span == number
    return span.first <= number <= span.last


@dataclass(slots=True)
class Scope:
    """The names that can be seen in one block: its own nodes, then those around it."""

    nodes: Mapping[str, NodeDraft]
    families: Mapping[str, dict[str, Indices]]
    diagnostics: Diagnostics
    indexed: Callable[[], frozenset[str]] = frozenset
    """The names that the lab's files declare in index form, though a loop over nothing may make none of them."""

    def find(self, reference: ast.Reference, inside: NodeDraft | None) -> list[NodeDraft] | None:
        """The nodes that `reference` means as seen from the block of `inside`; None after an error was reported."""
        try:
            return self._find(reference, inside)
        except TooMany:
            self.diagnostics.add(
                "E0309", "this stands for too many nodes", reference.range, f"more than {MOST_NODES}"
            )
            return None

    def _find(self, reference: ast.Reference, inside: NodeDraft | None) -> list[NodeDraft] | None:
        around = prefixes(inside)
        first = reference.parts[0]
        one = _one_name(first) if len(reference.parts) == 1 else None
        for prefix in around:
            node = self.nodes.get(prefix + one) if one is not None else None
            if node is not None:
                return [node]
            if (one is None or first.indices) and self._known(prefix, first):
                return self._from(prefix, reference)
        last = reference.parts[-1]
        if any(index.items is None for index in last.indices) and last.name.text in self.indexed():
            return []
        self._unknown(reference, first, around)
        return None

    def single(self, names: Sequence[str], inside: NodeDraft | None) -> NodeDraft | None:
        """The one node of this path as seen from the block of `inside`, if there is one; nothing is reported."""
        for prefix in prefixes(inside):
            if prefix + names[0] in self.nodes:
                return self.nodes.get(prefix + ".".join(names))
        return None

    def _known(self, prefix: str, part: ast.Declared) -> bool:
        if not part.indices:
            return prefix + part.name.text in self.nodes
        return prefix + part.name.text in self.families or any(
            prefix + name in self.nodes for name in self._names(prefix, part)[:1]
        )

    def _names(self, prefix: str, part: ast.Declared) -> list[str]:
        if any(index.spans is None for index in part.indices):
            family = prefix + part.name.text
            declared = self.families.get(family, {})
            return [name[len(prefix) :] for name, indices in declared.items() if _fits(indices, part.indices)]
        return list(unroll(part))

    def _from(self, prefix: str, reference: ast.Reference) -> list[NodeDraft] | None:
        prefixes = [prefix]
        found: list[NodeDraft] = []
        for at, part in enumerate(reference.parts):
            found = []
            for name in (p + name for p in prefixes for name in self._names(p, part)):
                node = self.nodes.get(name)
                if node is None:
                    self._unknown(reference, part, prefixes, name)
                    return None
                found.append(node)
            if not found and any(index.spans is not None for index in part.indices):
                self._none(prefixes, part)
            if at + 1 < len(reference.parts):
                prefixes = [node.name + "." for node in found]
        return found

    def _none(self, prefixes: Sequence[str], part: ast.Declared) -> None:
        """Say that `h[9][*]` is none of those that there are; where there are none at all, a param may want it so."""
        if any(self.families.get(p + part.name.text) for p in prefixes):
            self.diagnostics.add(
                "W0608", f"this is none of the `{part.name.text}`", part.range, "no node has these indices"
            )

    def _unknown(
        self, reference: ast.Reference, part: ast.Declared, prefixes: Iterable[str], name: str = ""
    ) -> None:
        if not name:
            some = _some_name(part)
            name = some if some is not None else part.name.text
        candidates = [
            full[len(p) :]
            for p in prefixes
            for full in self.nodes
            if full.startswith(p) and "." not in full[len(p) :]
        ]
        short = name.rpartition(".")[2]
        help = did_you_mean(short, candidates)
        owner = (
            self.nodes.get(next(iter(prefixes), "").rstrip(".")) if part is not reference.parts[0] else None
        )
        if not help and owner is not None and not owner.is_module and part is reference.parts[-1]:
            help = f"if an interface is meant: `{owner.name}:{part.name.text}`"
        if part.name.text in self.families and not part.indices:
            help = f"`{part.name.text}` stands for many; write `{part.name.text}[1]` or `{part.name.text}[*]`"
        where = reference.range if len(reference.parts) == 1 else part.range
        self.diagnostics.add("E0302", f"unknown node `{name}`", where, "not declared", help=help)


def prefixes(inside: NodeDraft | None) -> list[str]:
    """What stands before the names that are seen from the block of `inside`, the innermost first.

    A module sees nothing around it.
    """
    around: list[str] = []
    for node in inside.path() if inside is not None else ():
        around.append(f"{node.name}.")
        if node.is_module:
            return around
    return [*around, ""]


def _some_name(part: ast.Declared) -> str | None:
    if any(index.spans is None for index in part.indices):
        return None
    return next(iter(unroll(part)), None)
