"""Writes lab text: statements, strings and comments. `vtopo fmt`'s layout is given to the whole of it at the end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from vtopo.lang.syntax_errors import RESERVED

WIDTH = 90
"""Columns that the text of a comment takes before it goes on in another line."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
_SPECIAL = re.compile(r'[\\"\n\t]|\$(?=\{)')


def is_name(text: str) -> bool:
    """Whether a text can be declared as a name of the language."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


def quoted(text: str) -> str:
    """A text as a string of the language."""
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """A text as it stands within the marks of a string."""
    return _SPECIAL.sub(lambda m: _ESCAPES.get(m[0], "\\$"), text)


def key(text: str) -> str:
    """A key of a property: bare where the language lets it."""
    return text if is_name(text) else quoted(text)


def listed(items: Iterable[str]) -> str:
    """A list of values."""
    return f"[{', '.join(items)}]"


class Block:
    """Statements and comments in order; those of a block within stand in their place."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.said: set[str] = set()
        """Properties with one value that stand here already."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def say(self, statement: str) -> None:
        """A statement."""
        self._lines.append(statement)

    def gap(self) -> None:
        """An empty line, if anything stands above."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def note(self, text: str) -> None:
        """A comment; a long one takes several lines."""
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        wrapped = textwrap.wrap(
            shown, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent="  "
        )
        self._lines += [f"# {line}".rstrip() for line in wrapped or [""]]

    def nest(self, head: str, inner: Block) -> None:
        """A statement with its block: on one line if that is short, without one if nothing stands in it."""
        lines = list(inner)
        if len(lines) == 1 and not lines[0].startswith("#") and len(head) + len(lines[0]) < WIDTH:
            self._lines.append(f"{head} {{ {lines[0]} }}")
        else:
            self._lines += [f"{head} {{", *lines, "}"] if lines else [head]

    def add(self, other: Block) -> None:
        """All that stands in another."""
        self._lines += other
