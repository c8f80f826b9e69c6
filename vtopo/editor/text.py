"""A document's text, and the ways to name a place in it: an offset, vtopo's line and column, a client's position."""

from __future__ import annotations

import bisect
import functools
import re

from vtopo.values import dataclass

_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_LINE_END = re.compile(r"\r\n|\n|\r")
"""The ends of a line for a client (Language Server Protocol 3.17, "Text Documents")."""

_BYTES_OF_A_UNIT = {"utf-8": 1, "utf-16": 2, "utf-32": 4}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A client's position: lines from 0, characters from 0 in units of the encoding that was agreed on."""

    line: int
    character: int


class Text:
    """A text whose places are asked for; `encoding` is utf-8, utf-16 or utf-32, what a client's characters count.

    vtopo's lines end at `\\n` only and its columns count characters; a client's lines also end at a lone `\\r`.
    """

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        # A byte order mark is no part of a lab; a space keeps all places.
        self.text = " " + text[1:] if text.startswith(_BOM) else text
        self._encoding = encoding

    @functools.cached_property
    def _starts(self) -> list[int]:
        """Where vtopo's lines start."""
        return [0, *(m.end() for m in re.finditer("\n", self.text))]

    @functools.cached_property
    def _client_starts(self) -> list[int]:
        if "\r" not in self.text:
            return self._starts
        return [0, *(m.end() for m in _LINE_END.finditer(self.text))]

    @functools.cached_property
    def _plain(self) -> bool:
        return self.text.isascii() or self._encoding == "utf-32"

    def offset(self, line: int, column: int) -> int:
        """The offset of vtopo's line and column, both from 1; past the end of a line it is the line's end."""
        if line < 1:
            return 0
        if line > len(self._starts):
            return len(self.text)
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        return min(self._starts[line - 1] + column - 1, end)

    def place(self, offset: int) -> tuple[int, int]:
        """Vtopo's line and column of an offset."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def position(self, offset: int) -> Position:
        """The client's position of an offset."""
        line = bisect.bisect_right(self._client_starts, offset) - 1
        start = self._client_starts[line]
        return Position(line, offset - start if self._plain else self._units(self.text[start:offset]))

    def offset_of(self, position: Position) -> int:
        """The offset of a client's position; past the end of a line, or of the text, it is that end."""
        if position.line >= len(self._client_starts):
            return len(self.text)
        start = self._client_starts[position.line]
        last = position.line + 1 == len(self._client_starts)
        line = self.text[start:] if last else self.text[start : self._client_starts[position.line + 1]]
        line = line.rstrip("\r\n")
        if self._plain:
            return start + min(position.character, len(line))
        units = 0
        for number, letter in enumerate(line):
            if units >= position.character:
                return start + number
            units += self._units(letter)
        return start + len(line)

    def _units(self, text: str) -> int:
        size = _BYTES_OF_A_UNIT[self._encoding]
        codec = self._encoding if size == 1 else f"{self._encoding}-le"
        return len(text.encode(codec, "surrogatepass")) // size
