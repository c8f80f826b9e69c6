"""How often a loop goes round at least, by its text: what would be too much is refused before it is begun."""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.lang import ast
from vtopo.model.scope import Variables

MOST_TRIED = 3000
"""Values of one loop for which loops within are counted anew, if their ranges depend on it; the rest counts nothing."""


def least_turns(loop: ast.ForStatement, scope: Variables, most: int) -> int:
    """The turns of a loop, with those of the loops in its block and the nodes and links there; at most about `most`.

    What is not known counts nothing. A range is known where its ends are sums and products of numbers, of the
    loops' own variables, and of those that are worked out already.
    """
    return _Count(scope, most).loop(loop, loop.turns, {})


class _Count:
    def __init__(self, scope: Variables, most: int) -> None:
        self._scope = scope
        self._most = most
        self._asked: set[str] = set()

    def loop(self, loop: ast.ForStatement, turns: tuple[ast.Turn, ...], names: Mapping[str, int]) -> int:
        if not turns:
            return sum(self._statement(statement, names) for statement in loop.block.statements)
        turn, rest = turns[0], turns[1:]
        first, count = self._values(turn.values, names)
        name = turn.name.text
        total = count
        tried = 0
        while tried < min(count, MOST_TRIED) and total <= self._most:
            inner = {**names, name: first + tried} if first is not None else names
            self._asked.discard(name)
            least = self.loop(loop, rest, inner)
            if name not in self._asked or first is None:
                return total + least * (count - tried)
            total += least
            tried += 1
        return total

    def _statement(self, statement: ast.Statement, names: Mapping[str, int]) -> int:
        if isinstance(statement, ast.ForStatement):
            return self.loop(statement, statement.turns, names)
        return isinstance(statement, ast.NodeStatement | ast.LinkStatement)

    def _values(self, values: ast.Expression, names: Mapping[str, int]) -> tuple[int | None, int]:
        """The first value, if they are numbers, and how many there are."""
        match values:
            case ast.Interval(first=first, last=last):
                start, end = self._number(first, names), self._number(last, names)
                if start is None or end is None:
                    return start, 0
                return start, max(0, end - start + 1)
            case ast.ListValue(items=items):
                return None, len(items)
            case ast.Group(inner=inner):
                return self._values(inner, names)
        return None, 0

    def _number(self, value: ast.Expression, names: Mapping[str, int]) -> int | None:
        match value:
            case ast.Integer(value=number):
                return number
            case ast.Group(inner=inner):
                return self._number(inner, names)
            case ast.Reference(word=word) if word is not None:
                if word in names:
                    self._asked.add(word)
                    return names[word]
                variable = self._scope.find(word)
                known = variable.value if variable is not None else None
                return known.value if isinstance(known, ast.Integer) else None
            case ast.Binary(operator=sign, left=left, right=right) if sign in {"+", "-", "*"}:
                a, b = self._number(left, names), self._number(right, names)
                if a is None or b is None:
                    return None
                return a + b if sign == "+" else a - b if sign == "-" else a * b
        return None
