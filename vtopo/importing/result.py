"""A file that was converted: the lab's text, in the canonical layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vtopo.importing.writing import Block
from vtopo.importing.yaml_text import Node, Remarks, Scalar
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import canonical
from vtopo.lang.source import Source
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Imported:
    """The text of a lab file, and how much of the other file stands in its comments alone."""

    text: str
    left: int


def finished(source: Source, parts: Iterable[Block], remarks: Remarks, left: int) -> Imported:
    """The parts as one file; comments that none of them has had stand at its end."""
    whole = Block()
    for part in parts:
        if part:
            whole.gap()
            whole.add(part)
    rest = remarks.between(1, source.text.count("\n") + 1)
    if rest:
        whole.gap()
    for text in rest:
        whole.note(text)
    diagnostics = Diagnostics()
    made = canonical(Source("imported.vlab", "".join(f"{line}\n" for line in whole)), diagnostics)
    assert made is not None, [d.message for d in diagnostics]
    return Imported(made, left)


@contextmanager
def remarked(block: Block, remarks: Remarks, key: Scalar, value: Node) -> Iterator[None]:
    """What is said of a key within stands below the comments above the key and beside it.

    Comments within its value are to be placed there; those that are not come last.
    """
    line = key.range.line
    for text in (*remarks.above(line), *remarks.between(line, line)):
        block.note(text)
    yield
    for text in remarks.between(line, max(value.range.end_line, line) if value.range.line >= line else line):
        block.note(text)
