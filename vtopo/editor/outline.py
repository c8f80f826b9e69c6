"""The outline of a text: its statements, those in blocks behind those that they stand in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from vtopo.editor.index import Index
from vtopo.editor.text import Text
from vtopo.lang.source import Range
from vtopo.values import dataclass

LONGEST = 60
"""Characters of a label."""


@dataclass(slots=True)
class Entry:
    """A statement: its first word, the words that it is known by and their place, its own place, what is in it."""

    kind: str
    label: str
    place: Range
    whole: Range
    inner: list[Entry] = field(default_factory=list)


def outline(index: Index, text: Text) -> list[Entry]:
    """The outermost entries in the order of the text."""
    outermost: list[Entry] = []
    path: list[tuple[int, Entry]] = []
    for found, place, whole in index.entries():
        entry = Entry(found.kind, _label(text, place), place, whole)
        while path and (path[-1][0] >= found.depth or not _contains(path[-1][1].whole, whole)):
            path.pop()
        (path[-1][1].inner if path else outermost).append(entry)
        path.append((found.depth, entry))
    return outermost


def folds(blocks: Iterable[Range]) -> list[tuple[int, int]]:
    """The first and the last line, from 1, of each block over several lines; the closing brace stays in sight."""
    return sorted({(b.line, b.end_line - 1) for b in blocks if b.end_line - 1 > b.line})


def _label(text: Text, place: Range) -> str:
    written = text.text[text.offset(place.line, place.column) : text.offset(place.end_line, place.end_column)]
    label = " ".join(written.split())
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _contains(outer: Range, inner: Range) -> bool:
    return (outer.line, outer.column) <= (inner.line, inner.column) and (
        inner.end_line,
        inner.end_column,
    ) <= (
        outer.end_line,
        outer.end_column,
    )
