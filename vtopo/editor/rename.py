"""Renames what a text declares, everywhere in the text, and proves that nothing else changes its meaning."""

from __future__ import annotations

import re

from vtopo.editor.facts import Role
from vtopo.editor.index import Cache, Index, Occurrence, Symbol, build
from vtopo.editor.text import Text
from vtopo.lang.source import Range
from vtopo.lang.syntax_errors import RESERVED
from vtopo.values import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_SHARED = frozenset({Role.NODE, Role.OVERLAY, Role.POOL, Role.MODULE, Role.VARIABLE})
"""What shares one namespace in each block."""
_ELSEWHERE = frozenset({Role.LAB})


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a name is not changed."""

    why: str


def renamable(index: Index, line: int, column: int) -> Occurrence | Refused:
    """The name at a place, if it can be changed."""
    found = index.at(line, column)
    if found is None:
        return Refused("no name that this file declares stands here")
    if found.symbol.role in _ELSEWHERE:
        return Refused("a running lab is found by its name: change it by hand, after `vtopo down`")
    if not index.declarations(found.symbol):
        return Refused(f"`{found.symbol.name}` is declared in another file")
    return found


def rename(index: Index, text: Text, symbol: Symbol, new: str) -> list[Range] | Refused:
    """The places of `symbol`, each to be replaced by `new`; or why that cannot be."""
    if (bad := _bad(symbol, new)) is not None:
        return bad
    if index.broken is not None:
        return Refused(f"line {index.broken} does not parse, and the name may stand there: mend it first")
    places = [o.range for o in index.occurrences(symbol)]
    spans = [_span(text, place) for place in places]
    changed, end = "", 0
    for start, after in spans:
        changed += text.text[end:start] + new
        end = after
    renamed = Text(changed + text.text[end:])
    return _differs(index, text, renamed, spans, symbol, new) or places


def _bad(symbol: Symbol, new: str) -> Refused | None:
    if not _NAME.fullmatch(new):
        return Refused(f"`{new}` is no name: letters, digits, `_`, and single hyphens between them")
    if new in RESERVED:
        return Refused(f"`{new}` is a word of the language")
    if symbol.role is Role.VARIABLE and "-" in new:
        return Refused(f"a variable's name has no hyphen; write `{new.replace('-', '_')}`")
    return None


def _span(text: Text, place: Range) -> tuple[int, int]:
    return text.offset(place.line, place.column), text.offset(place.end_line, place.end_column)


def _differs(
    index: Index, text: Text, renamed: Text, spans: list[tuple[int, int]], symbol: Symbol, new: str
) -> Refused | None:
    """Why the renamed text does not mean the same: each name must be at its place, and mean what it meant."""
    again = build(index.path, renamed.text, Cache(index.cache))
    if again.broken is not None:
        return Refused(f"line {again.broken} would not parse")
    if (clash := _clash(again, new, {o.range.line for o in index.declarations(symbol)})) is not None:
        return clash
    before = {_span(text, o.range)[0]: o for o in index.all()}
    after = {_span(renamed, o.range)[0]: o for o in again.all()}
    became: dict[Symbol, Symbol] = {}
    was: dict[Symbol, Symbol] = {}
    shift, number = 0, 0
    for start in sorted(before):
        while number < len(spans) and spans[number][0] < start:
            shift += len(new) - (spans[number][1] - spans[number][0])
            number += 1
        old, now = before[start], after.pop(start + shift, None)
        if now is None or became.setdefault(old.symbol, now.symbol) != now.symbol:
            return Refused(f"`{old.symbol.name}` on line {old.range.line} would mean something else")
        if was.setdefault(now.symbol, old.symbol) != old.symbol:
            return _taken(index, was[now.symbol], old.symbol, new)
    for now in after.values():
        return Refused(f"`{now.symbol.name}` on line {now.range.line} would mean something else")
    return None


def _clash(index: Index, new: str, own: set[int]) -> Refused | None:
    """Why nothing else can have the name: a variable hides none, and is hidden by none; `own` are its lines."""
    named = [
        (o, o.declaration)
        for o in index.all()
        if o.declaration is not None and o.symbol.name == new and o.symbol.role in _SHARED
    ]
    for one, declared in named:
        if declared.role is not Role.VARIABLE:
            continue
        for other, _ in named:
            if other is not one and (one.symbol.scope is None or index.sees(other, one)):
                theirs = one if other.range.line in own else other
                return Refused(f"`{new}` is a {theirs.symbol.role.value} already on line {theirs.range.line}")
    return None


def _taken(index: Index, one: Symbol, other: Symbol, new: str) -> Refused:
    theirs = one if one.name == new else other
    declared = index.declarations(theirs)
    where = f" on line {declared[0].range.line}" if declared else ""
    return Refused(f"`{new}` is a {theirs.role.value} already{where}")
