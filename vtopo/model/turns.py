"""How often a loop goes round at least, by its text: what would be too much is refused before it is begun."""

from __future__ import annotations

from vtopo.lang import ast
from vtopo.model.scope import Variables


def least_turns(loop: ast.ForStatement, scope: Variables) -> int:
    """The turns of a loop, with those of the loops in its block and the nodes there; what is not known counts nothing.

    A range is known where its ends are numbers, or variables that are worked out already.
    """
    turns = whole = 1
    for turn in loop.turns:
        turns *= _count(turn.values, scope)
        whole += turns
    if not turns:
        return 0
    inner = 0
    for statement in loop.block.statements:
        match statement:
            case ast.ForStatement():
                inner += least_turns(statement, scope)
            case ast.NodeStatement() | ast.LinkStatement():
                inner += 1
    return whole + turns * inner


def _count(values: ast.Expression, scope: Variables) -> int:
    match values:
        case ast.Interval(first=first, last=last):
            start, end = _number(first, scope), _number(last, scope)
            return max(0, end - start + 1) if start is not None and end is not None else 0
        case ast.ListValue(items=items):
            return len(items)
        case ast.Group(inner=inner):
            return _count(inner, scope)
    return 0


def _number(value: ast.Expression, scope: Variables) -> int | None:
    match value:
        case ast.Integer(value=number):
            return number
        case ast.Reference(word=word) if word is not None:
            variable = scope.find(word)
            known = variable.value if variable is not None else None
            return known.value if isinstance(known, ast.Integer) else None
    return None
