"""The canonical text of a lab file, proved each time to mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format_layout import layout
from vtopo.lang.format_tree import Lexed, comments, lex, read, significant
from vtopo.lang.parser import parse
from vtopo.lang.source import Range, Source
from vtopo.lang.tokens import Token

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


class FormatError(Exception):
    """The canonical text would not be the same lab: a mistake of the formatter, never of the file."""


def canonical(source: Source, diagnostics: Diagnostics) -> str | None:
    """The canonical text of `source`; None, and diagnostics that say why, where it does not parse.

    FormatError if the text that came out has another tree or other comments, or is not canonical itself.
    """
    source = Source(source.path, source.text.removeprefix(BOM))
    tree = parse(source, diagnostics)
    if diagnostics.failed:
        return None
    written = lex(source.text.replace("\r\n", "\n"))
    result = _laid_out(written, tree)
    _prove(source, tree, written, result)
    return result


def _laid_out(written: Lexed, tree: ast.File) -> str:
    """The layout of a text whose tree is `tree`; switches are written `on` and `off`."""
    if "true" not in written.text and "false" not in written.text:
        return layout(read(written))
    switches = {(s.range.line, s.range.column): s.value for s in _switches(tree)}

    def renamed(token: Token) -> str:
        value = switches.get((token.line or 0, token.column or 0))
        return str(token) if value is None else "on" if value else "off"

    return layout(read(written, renamed))


def _prove(source: Source, tree: ast.File, written: Lexed, result: str) -> None:
    lexed = lex(result)
    if list(significant(written)) == list(significant(lexed)):
        # Tokens are all that the parser sees, so these have the same tree; and no switch is left to rename.
        again = layout(read(lexed))
    else:
        diagnostics = Diagnostics()
        other = parse(Source(source.path, result), diagnostics)
        if diagnostics.failed or not same_meaning(tree, other):
            raise FormatError(f"the canonical text of {source.path} would mean something else")
        again = _laid_out(lexed, other)
    if Counter(comments(written)) != Counter(comments(lexed)):
        raise FormatError(f"the canonical text of {source.path} would have other comments")
    if again != result:
        raise FormatError(f"the canonical text of {source.path} is not canonical itself")


def same_meaning(a: object, b: object) -> bool:
    """Whether two syntax trees differ in nothing but the places, and the line ends inside strings."""
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, Range):
            continue
        if fields := _fields(a):
            pairs += ((getattr(a, name), getattr(b, name)) for name in fields)
        elif isinstance(a, str) and isinstance(b, str):
            if a.replace("\r\n", "\n") != b.replace("\r\n", "\n"):
                return False
        elif isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def _switches(tree: ast.File) -> Iterator[ast.Switch]:
    """Every `on`, `off`, `true` and `false` that is a value."""
    nodes: list[object] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Switch):
            yield node
        elif isinstance(node, tuple):
            nodes += node
        elif not isinstance(node, Range):
            nodes += (getattr(node, name) for name in _fields(node))


def _fields(node: object) -> tuple[str, ...]:
    """The names of a tree node's fields; none of anything else. (`dataclasses.fields` is ten times slower.)"""
    return tuple(getattr(type(node), "__match_args__", ()))
