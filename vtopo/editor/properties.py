"""Which properties can stand in a block, from the schema: by the words of the statements around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from vtopo.model.schema import KIND_PLACES, SCHEMA, Place, Property

Known: TypeAlias = Mapping[str, Property]
"""Properties by name."""

NOTHING: Known = MappingProxyType({})
LINK: Known = {**SCHEMA[Place.END], **SCHEMA[Place.LINK]}
"""What a block at the end of a link may say: it is the link's, and the right end's where that has no other."""
TEMPLATE: Known = {name: p for place in KIND_PLACES.values() for name, p in SCHEMA[place].items()}
"""What a template may say: it is not known of which kind the nodes are that take it."""
ARROWS = frozenset({"->", "<-"})
TRANSPARENT = frozenset({"for", "if"})
"""Statements whose blocks hold what the block around them holds."""

_NAMED = {place.value: place for place in (Place.LAB, Place.MACHINE, Place.OVERLAY, Place.SCENARIO)}
_NAMED |= dict(KIND_PLACES)


def of_kind(kind: str) -> Known:
    """The properties of a kind of node, or of `link`."""
    if kind == "link":
        return LINK
    return SCHEMA[_NAMED[kind]] if kind in _NAMED else NOTHING


def known(headers: Iterable[Sequence[str]]) -> Known:
    """What can stand in the innermost block, whose statements' words are `headers`, the outermost first."""
    found = NOTHING
    for header in headers:
        found = _inside(header, found)
    return found


def _inside(header: Sequence[str], around: Known) -> Known:
    first = header[0]
    if first in TRANSPARENT:
        return around
    if first == "link":
        return _of_link(header)
    if first == "template":
        return TEMPLATE
    if first == "default":
        return of_kind(header[1]) if len(header) > 1 else NOTHING
    if first in _NAMED:
        return SCHEMA[_NAMED[first]]
    if ARROWS & set(header[:4]):
        return (
            SCHEMA[Place.DIRECTION]
            if around is LINK or around is SCHEMA[Place.LINK]
            else _inner(first, around)
        )
    return _inner(first, around)


def _inner(name: str, around: Known) -> Known:
    return around[name].inner if name in around else NOTHING


def _of_link(header: Sequence[str]) -> Known:
    """Before `--` it is the left end's; after it the link's, or the right end's, which another may follow."""
    if "--" not in header:
        return SCHEMA[Place.END]
    after = header[len(header) - list(reversed(header)).index("--") :]
    return SCHEMA[Place.LINK] if "}" in after else LINK
