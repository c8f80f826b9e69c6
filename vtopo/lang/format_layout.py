"""Lays a lab's statements and comments out as lines: indentation, blocks on one line or on many, aligned comments."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang.format_tree import Block, Comment, Entry, Piece, Statement
from vtopo.values import dataclass

WIDTH = 100
"""What is laid out on one line fits this many columns; its comment may go past."""

INDENT = 2
CONTINUED = 4
"""How much deeper the further lines of a statement stand, outside brackets."""


@dataclass(slots=True)
class _Line:
    code: str
    comment: str = ""

    @property
    def width(self) -> int:
        """Of the last line, if a string spans several."""
        return len(self.code.rpartition("\n")[2])


def layout(entries: Sequence[Entry]) -> str:
    """The text of a whole file."""
    lines: list[_Line] = []
    _body(entries, 0, lines)
    _align(lines)
    return "".join(f"{line.code}{line.comment}\n" for line in lines)


def _align(lines: list[_Line]) -> None:
    """Comments after code begin two spaces past the longest code of the lines that follow each other with one."""
    run: list[_Line] = []
    for line in [*lines, _Line("")]:
        if line.code and line.comment:
            run.append(line)
            continue
        column = max((each.width for each in run), default=0) + 2
        for each in run:
            each.comment = " " * (column - each.width) + each.comment
        run = []


def _body(entries: Sequence[Entry], indent: int, lines: list[_Line]) -> None:
    for number, entry in enumerate(entries):
        if entry.blank and number:
            lines.append(_Line(""))
        if isinstance(entry, Comment):
            lines.append(_Line(" " * indent + entry.text))
        else:
            _Writer(entry, indent, lines).write()


class _Writer:
    """Writes one statement: the line that is being filled, and the brackets open on it."""

    def __init__(self, statement: Statement, indent: int, lines: list[_Line]) -> None:
        self._statement = statement
        self._items = statement.items
        self._indent = indent
        self._lines = lines
        self._line = " " * indent
        self._brackets = 0
        self._keeps_breaks = any(item.gap.broken for item in self._items) and (
            any(item.gap.has_comments for item in self._items) or not self._fits_joined()
        )

    def write(self) -> None:
        for number, item in enumerate(self._items):
            if isinstance(item, Block):
                self._block(item, number)
            else:
                self._piece(item)
        self._end(self._statement.trailing)

    def _end(self, comment: str) -> None:
        self._lines.append(_Line(self._line, comment))

    def _fits_joined(self) -> bool:
        """Whether each stretch between blocks fits on a line, line breaks in brackets taken out."""
        start, number = self._indent, 0
        while number < len(self._items):
            tail = _tail(self._items[number:])
            if start + _width(tail) > WIDTH:
                return False
            while number < len(self._items) and not isinstance(self._items[number], Block):
                number += 1
            number += 1
            start = self._indent + 1
        return True

    def _piece(self, piece: Piece) -> None:
        closes = piece.text in {")", "]"}
        self._brackets -= closes and self._brackets > 0
        if piece.gap.broken and self._keeps_breaks:
            self._break(piece)
        elif piece.space:
            self._line += " "
        self._line += piece.text
        self._brackets += piece.text in {"(", "["}

    def _break(self, piece: Piece) -> None:
        """A line break of the source inside a statement, kept."""
        self._end(piece.gap.trailing)
        closes = piece.text in {")", "]"}
        inside = self._brackets + closes
        deeper = INDENT * inside if inside else CONTINUED
        self._lines += [_Line(" " * (self._indent + deeper) + c.text) for c in piece.gap.own]
        self._line = " " * (self._indent + (INDENT * self._brackets if closes else deeper))

    def _block(self, block: Block, number: int) -> None:
        flat = _flat(block)
        if flat and (flat == _EMPTY or self._fits(flat, number)):
            self._line += f" {flat}"
            return
        self._line += " {"
        self._end(block.trailing)
        _body(block.entries, self._indent + INDENT, self._lines)
        self._line = " " * self._indent + "}"

    def _fits(self, flat: str, number: int) -> bool:
        """Whether a block fits on this line, and what follows it up to the next block's brace."""
        here = len(self._line.rpartition("\n")[2])
        return here + 1 + _width(flat + _tail(self._items[number + 1 :])) <= WIDTH


_EMPTY = "{}"


def _tail(items: Sequence[Piece | Block]) -> str:
    """Pieces as one line, up to the brace that opens the next block."""
    text = ""
    for item in items:
        if isinstance(item, Block):
            return f"{text} {{"
        text += " " * item.space + item.text
    return text


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _flat(block: Block) -> str:
    """A block as `{ a b; c d }`; empty where it was not written on one line."""
    if not block.entries and not block.trailing:
        return _EMPTY
    if not block.on_one_line:
        return ""
    statements = (_flat_statement(entry) for entry in block.entries if isinstance(entry, Statement))
    return f"{{ {'; '.join(statements)} }}"


def _flat_statement(statement: Statement) -> str:
    text = ""
    for item in statement.items:
        text += f" {_flat(item)}" if isinstance(item, Block) else " " * item.space + item.text
    return text
