"""Cuts a text into its outermost statements without parsing it, so that an edit costs what it touches."""

from __future__ import annotations

import re

from vtopo.values import dataclass

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"?|#.*')
_GOES_ON = re.compile(r"(?:[,=<>+\-*/%?]|\.\.|\b(?:and|or|not))\s*\Z")
"""How a line ends whose statement goes on in the next one."""
_BEGINS = re.compile(r"[A-Za-z]")
"""How a line begins that is a statement outside of all blocks, as inside of them lines are indented."""
_LONG = '"""'

MOST_UNCLOSED = 20
"""Blocks that are not closed, after which the rest of a text is one chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines that hold outermost statements: their first one's number from 1, where they start, their text.

    `whole`: whether its brackets are all closed.
    """

    line: int
    start: int
    text: str
    whole: bool = True

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def chunks(text: str) -> list[Chunk]:
    """The chunks of a text in order; between them are blank lines and comments."""
    return _Cutter(text).cut()


class _Cutter:
    """Goes through the lines; `first` is that of the chunk which is open, if one is."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True) if _has_plain_lines(text) else _split(text)
        self._found: list[Chunk] = []
        self._start = 0
        self._unclosed = 0

    def cut(self) -> list[Chunk]:
        first = 0
        while first < len(self._lines):
            first = self._one(first)
        return self._found

    def _one(self, first: int) -> int:
        """Add the chunk that begins at line `first`, if it is not blank; the line after it."""
        braces = brackets = 0
        in_string = goes_on = False
        for number in range(first, len(self._lines)):
            line = self._lines[number]
            if in_string or _LONG in line:
                line, in_string = _outside_long_strings(line, in_string)
            if '"' in line or "#" in line:
                line = _STRING_OR_COMMENT.sub(_emptied, line)
            code = line.strip()
            if not code and not in_string:
                if number == first:
                    return self._skip(first)
                if braces or brackets or goes_on:
                    continue
            if brackets and not braces and number > first and _BEGINS.match(line):
                return self._add(first, number, whole=False)
            braces = max(0, braces + code.count("{") - code.count("}"))
            brackets = max(
                0, brackets + code.count("(") + code.count("[") - code.count(")") - code.count("]")
            )
            goes_on = _GOES_ON.search(code) is not None
            if not (braces or brackets or in_string or goes_on):
                return self._add(first, number + 1)
        return self._add(first, self._after_unclosed(first), whole=not (braces or brackets or in_string))

    def _after_unclosed(self, first: int) -> int:
        """Where the text goes on after a block that is never closed: most likely on the next line at the margin."""
        self._unclosed += 1
        if self._unclosed <= MOST_UNCLOSED:
            for number in range(first + 1, len(self._lines)):
                if _BEGINS.match(self._lines[number]):
                    return number
        return len(self._lines)

    def _skip(self, line: int) -> int:
        self._start += len(self._lines[line])
        return line + 1

    def _add(self, first: int, after: int, whole: bool = True) -> int:
        chunk = Chunk(first + 1, self._start, "".join(self._lines[first:after]), whole)
        self._found.append(chunk)
        self._start = chunk.end
        return after


def _has_plain_lines(text: str) -> bool:
    """Whether Python's lines are vtopo's: only `\\n` ends one."""
    return text.isascii() and not re.search(r"[\r\v\f\x1c-\x1e]", text)


def _split(text: str) -> list[str]:
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    return [str(line) for line in lines]


def _emptied(match: re.Match[str]) -> str:
    return "" if match[0][0] == "#" else '""'


def _outside_long_strings(line: str, inside: bool) -> tuple[str, bool]:
    """What of a line is not in a string that may span lines, and whether such a string is open at its end."""
    parts = line.split(_LONG)
    kept = parts[1::2] if inside else parts[::2]
    return '""'.join(kept), inside != (len(parts) % 2 == 0)
