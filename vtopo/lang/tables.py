"""The parser's tables at work: a token is taken onto the parser's stacks, after all rules that end before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from vtopo.lang.grammar import Grammar, Rule
from vtopo.lang.tokens import Token

END = "$END"
"""The terminal after the last token."""

_Build: TypeAlias = Callable[[list[Any]], Any]
_Reduction: TypeAlias = "tuple[int, _Build | None, str]"
"""How many children a rule has, what makes one value of them (None: it is its only child), and the rule's name."""


class Tables:
    """The tables of a grammar; `builder` has a method for each rule that makes a value of its children."""

    def __init__(self, grammar: Grammar, builder: object) -> None:
        self.starts = grammar.starts
        self._ends = frozenset(grammar.ends.values())
        self._rows = grammar.rows
        self._rules = [_reduction(rule, builder) for rule in grammar.rules]

    def feed(self, states: list[int], values: list[Any], token: Token) -> bool:
        """Take a token; False if no rule takes it. With the END, the last of `values` is that of the whole text."""
        rows, rules = self._rows, self._rules
        kind = token.type
        while True:
            action = rows[states[-1]].get(kind)
            if action is None:
                return False
            if action >= 0:
                states.append(action)
                values.append(token)
                return True
            size, build, name = rules[~action]
            if build is None:
                del states[-1]
            elif size:
                children = values[-size:]
                del states[-size:], values[-size:]
                values.append(build(children))
            else:
                values.append(build([]))
            state = rows[states[-1]][name]
            states.append(state)
            if kind == END and state in self._ends:
                return True

    def after(self, state: int, rule: str) -> int:
        """The state that follows once a rule has ended that began in `state`."""
        return self._rows[state][rule]

    def accepts(self, states: Sequence[int]) -> frozenset[str]:
        """The terminals that would be taken."""
        return frozenset(k for k in self._rows[states[-1]] if k.isupper() and self._takes(list(states), k))

    def _takes(self, states: list[int], kind: str) -> bool:
        while (action := self._rows[states[-1]].get(kind)) is not None:
            if action >= 0:
                return True
            size, _, name = self._rules[~action]
            del states[len(states) - size :]
            states.append(self._rows[states[-1]][name])
            if kind == END and states[-1] in self._ends:
                return True
        return False


def _reduction(rule: Rule, builder: object) -> _Reduction:
    name, size, taken, alone = rule
    if alone and size == 1 and taken is None:
        return size, None, name
    # The children of a rule whose name begins with `_` are those of the rule that it stands in.
    make: _Build = _as_they_are if name.startswith("_") else getattr(builder, name)
    if taken is None and not alone:
        return size, make, name
    if taken is None:
        taken = tuple((at, False) for at in range(size))
    return size, _building(make, taken, alone), name


def _as_they_are(children: list[Any]) -> list[Any]:
    return children


def _building(make: _Build, taken: Sequence[tuple[int, bool]], alone: bool) -> _Build:
    def build(children: list[Any]) -> Any:
        found: list[Any] = []
        for at, apart in taken:
            if not apart:
                found.append(children[at])
            elif found:
                found += children[at]
            else:
                found = children[at]  # a list that grows statement by statement is not copied each time
        return found[0] if alone and len(found) == 1 else make(found)

    return build
