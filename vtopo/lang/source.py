"""Source texts, and places in them: a range of a file by line and column."""

from __future__ import annotations

import functools

from vtopo.values import dataclass

MOST_BYTES = 10_000_000
"""A lab file of more bytes than this is refused."""


class Unreadable(Exception):
    """A file that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of text in one file; lines and columns count from 1, the end is exclusive."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def to(self, end: Range) -> Range:
        """The range from this one's start to `end`'s end."""
        return Range(self.path, self.line, self.column, end.end_line, end.end_column)


@functools.lru_cache(maxsize=8)
def _lines(text: str) -> list[str]:
    """The lines of a text; a run shows many lines of few texts."""
    return text.split("\n")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file and the name it is reported by."""

    path: str
    text: str

    def line(self, number: int) -> str:
        """Line `number` (from 1) without its newline; empty past the end."""
        lines = _lines(self.text)
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""
