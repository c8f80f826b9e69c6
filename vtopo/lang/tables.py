"""Lark's parse tables as the parser's loop reads them: what a state does with a token, in one look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from lark import Token
from lark.parse_tree_builder import ExpandSingleChild
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParseConf

_Reduction: TypeAlias = tuple[int, Callable[[list[Any]], Any] | None, str]
"""How many children a rule takes, what makes one of them (None: it is its only child), and the rule's name."""
_Row: TypeAlias = dict[str, "int | _Reduction"]
"""A state's: the state that follows a token or a rule, or the rule that ends before it."""


class Tables(dict[int, _Row]):
    """The rows of the states that were needed so far; a small file needs few of them."""

    def __init__(self, conf: ParseConf[int]) -> None:
        self._states = conf.states
        self._callbacks = conf.callbacks

    def __missing__(self, state: int) -> _Row:
        row: _Row = {}
        for name, (action, argument) in self._states[state].items():
            row[name] = argument if action is Shift else self._reduction(argument)
        self[state] = row
        return row

    def _reduction(self, rule: Any) -> _Reduction:
        build = self._callbacks[rule]
        size = len(rule.expansion)
        alone = size == 1 and isinstance(build, ExpandSingleChild)
        return size, None if alone else build, rule.origin.name

    def feed(self, states: list[int], values: list[Any], token: Token) -> bool:
        """Take a token onto the parser's stacks, after all rules that end before it; False if no rule takes it."""
        kind = token.type
        while True:
            action = self[states[-1]].get(kind)
            if action is None:
                return False
            if isinstance(action, int):
                states.append(action)
                values.append(token)
                return True
            size, build, name = action
            if build is None:
                del states[-1]
            elif size:
                children = values[-size:]
                del states[-size:], values[-size:]
                values.append(build(children))
            else:
                values.append(build([]))
            states.append(self[states[-1]][name])  # type: ignore[arg-type]  # after a rule comes a state
