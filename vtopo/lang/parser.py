"""Text to syntax tree; every syntax error of the text is reported, and a tree always comes back."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from vtopo.lang import ast
from vtopo.lang.alike import Alike
from vtopo.lang.build import TreeBuilder
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.grammar import grammar
from vtopo.lang.source import Range, Source
from vtopo.lang.syntax_errors import Unexpected, report
from vtopo.lang.tables import END, Tables
from vtopo.lang.tokens import Lexer, Token
from vtopo.values import dataclass

DEEPEST = 100
"""Blocks within blocks beyond this depth are refused."""

LONGEST = 50_000
"""A statement of more words and signs than this is refused."""

_TURNS = frozenset({"LBRACE", "RBRACE", "_SEP"})
"""The tokens after which another statement may begin, or a block has ended."""


def parse(source: Source, diagnostics: Diagnostics) -> ast.File:
    """The tree of `source`; statements that do not parse are reported and left out."""
    return _Recovery(_parser(source.path, diagnostics), source, diagnostics).parse()


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text, separators among them; lexing never fails."""
    return _built().lexer.tokens(text)


def parse_expression(source: Source, diagnostics: Diagnostics) -> ast.Expression | None:
    """The expression that a whole text is, for what is set from outside; None after an error was reported."""
    return _inner(_parser(source.path, diagnostics), source, 1, 1, diagnostics)


@dataclass(frozen=True, slots=True)
class _Parser:
    """What finds the tokens of a text, what takes them, and what makes the tree meanwhile."""

    lexer: Lexer
    tables: Tables
    builder: TreeBuilder


def _parser(path: str, diagnostics: Diagnostics) -> _Parser:
    """The parser, with its tree builder set to this file. One file is parsed at a time."""
    parser = _built()

    def inner(text: str, line: int, column: int) -> ast.Expression | None:
        return _inner(parser, Source(path, text), line, column, diagnostics)

    parser.builder.begin(path, diagnostics, inner)
    return parser


@functools.cache
def _built() -> _Parser:
    """The parser, made once."""
    found = grammar()
    builder = TreeBuilder()
    return _Parser(Lexer(found), Tables(found, builder), builder)


def _end_token() -> Token:
    token = Token()
    token.type = END
    return token


def _inner(
    parser: _Parser, source: Source, line: int, column: int, diagnostics: Diagnostics
) -> ast.Expression | None:
    """The expression that is all of a text, which begins at this line and column of its file."""
    states, values = [parser.tables.starts["expression"]], list[Any]()
    before: Token | None = None
    for token in parser.lexer.tokens(source.text):
        token.line, token.end_line = line, line
        token.column += column - 1
        token.end_column += column - 1
        if not parser.tables.feed(states, values, token):
            accepts = parser.tables.accepts(states)
            report(Unexpected(token, before, before, accepts, False), source, diagnostics)
            return None
        before = token
    if not parser.tables.feed(states, values, _end_token()):
        at = before.end_column if before is not None else column
        place = Range(source.path, line, at, line, at + 1)
        diagnostics.add("E0101", "a value is missing", place, "expected a value")
        return None
    value: ast.Expression = values[-1]
    return value


@dataclass(frozen=True, slots=True)
class _Start:
    """The parser's stacks where a statement may begin, from the block's brace upwards, which nothing below can change.

    `lengths` says how many children each tree there had.
    """

    below: int
    states: list[Any]
    values: list[Any]
    lengths: list[int]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A statement at a line's beginning: that line, how many blocks it is in, and what was found wrong before it."""

    line: int
    depth: int
    diagnostics: int


class _Recovery:
    """Feeds tokens to the parser and, after an error, goes on with the next statement.

    The parser's stacks as they were when a statement began are the start of a valid parse that waits for a
    statement. So after an error they are put back, and tokens are skipped to the end of the broken
    statement: its newline, or the brace that closes its block. (They must be kept down to that brace: before
    an LALR parser sees an error it may have reduced past the statement's start.)
    """

    def __init__(self, parser: _Parser, source: Source, diagnostics: Diagnostics) -> None:
        self._lexer = parser.lexer.tokens(source.text)
        self._alike = Alike(source)
        self._tables = parser.tables
        self._tokens: list[Token] = []
        self._states = [parser.tables.starts["start"]]
        self._values: list[Any] = []
        self._source = source
        self._diagnostics = diagnostics
        self._starts = [self._start(0)]
        self._braces: list[Token] = []
        self._first = 0
        self._begun: _Begun | None = self._begins(1)

    def _start(self, below: int) -> _Start:
        values = self._values[below:]
        # A repeated rule's further children are appended to the first one's list.
        lengths = [len(value) if isinstance(value, list) else 0 for value in values]
        return _Start(below, self._states[below + 1 :], values, lengths)

    def _put_back(self) -> None:
        start = self._starts[-1]
        # The stack of states has the initial one below the first value's.
        self._states[start.below + 1 :] = start.states
        self._values[start.below :] = start.values
        for value, length in zip(start.values, start.lengths, strict=True):
            if isinstance(value, list):
                del value[length:]

    def _next(self) -> Token | None:
        """The next token, which is the last of those read; None past the end."""
        token = next(self._lexer, None)
        if token is not None:
            self._tokens.append(token)
        return token

    def _begins(self, line: int) -> _Begun:
        found = self._diagnostics
        return _Begun(line, len(self._braces), len(found) + found.dropped)

    def _next_statement(self, separator: Token) -> Token | None:
        """The next token after a separator, or after the statement that follows it, if its tree is known."""
        if separator.end_column != 1:
            return self._next()
        self._begun = None
        known = self._alike.read(separator.end_line, DEEPEST - len(self._braces))
        if known is None:
            self._begun = self._begins(separator.end_line)
            return self._next()
        statement, columns = known
        self._states.append(self._tables.after(self._states[-1], "statement"))
        self._values.append(statement)
        with contextlib.suppress(StopIteration):
            token = self._lexer.send(columns)
            self._tokens.append(token)
            return token
        return None

    def _learn(self, separator: Token) -> None:
        """Have what was parsed from a line's beginning up to a separator on it known from now on."""
        begun = self._begun
        if begun is None or begun.depth != len(self._braces):
            return
        self._begun = None
        if begun == self._begins(separator.line) and separator.column > 1:
            below = self._values[-2]  # the statement, or the list of all but the file's or the block's first
            statement = below[-1] if isinstance(below, list) else below
            self._alike.learn(separator.line, separator.column - 1, statement)

    def parse(self) -> ast.File:
        read, feed, states, values = self._tokens, self._tables.feed, self._states, self._values
        token = self._next()
        while token is not None:
            kind = token.type
            if kind == "LBRACE" and len(self._braces) >= DEEPEST:
                self._refuse(token, "blocks are nested too deeply", f"more than {DEEPEST} levels")
                return ast.File(self._source.path)
            if len(read) - self._first > LONGEST + 1:
                break
            if not feed(states, values, token):
                self._report(len(read) - 1)
                token = self._skip(token)
                continue
            if kind in _TURNS:
                self._shifted(token)
            token = self._next_statement(token) if kind == "_SEP" else self._next()
        if len(read) - (token is not None) - self._first > LONGEST:
            first = read[self._first]
            self._refuse(first, "this statement is too long", f"more than {LONGEST} words and signs")
            return ast.File(self._source.path)
        return self._end()

    def _shifted(self, token: Token) -> None:
        if token.type == "LBRACE":
            self._starts.append(self._start(len(self._values)))
            self._braces.append(token)
        elif token.type == "RBRACE":
            self._starts.pop()
            self._braces.pop()
            if self._begun is not None and self._begun.depth > len(self._braces):
                self._begun = None  # `} else {` comes back to the depth, but to no beginning
            return
        else:
            self._learn(token)
            self._starts[-1] = self._start(self._starts[-1].below)
        self._first = len(self._tokens)

    def _skip(self, token: Token | None) -> Token | None:
        """The token after the statement that broke at `token`, where parsing goes on."""
        self._put_back()
        nested = 0
        while token is not None and len(self._tokens) - self._first <= LONGEST + 1:
            kind = token.type
            if kind == "LBRACE":
                nested += 1
            elif kind == "RBRACE" and nested:
                nested -= 1
            elif (kind == "RBRACE" and self._braces) or (kind == "_SEP" and not nested):
                return token
            token = self._next()
        return token

    def _end(self) -> ast.File:
        while True:
            if not self._tables.feed(self._states, self._values, _end_token()):
                if not self._braces:
                    self._report(len(self._tokens))
                    self._put_back()
                    continue
                brace = self._braces.pop()
                if not self._braces:
                    self._unclosed(brace)
                self._starts.pop()
                self._put_back()
                continue
            tree = self._values[-1]
            assert isinstance(tree, ast.File)
            return tree

    def _range(self, token: Token) -> Range:
        return Range(self._source.path, token.line, token.column, token.end_line, token.end_column)

    def _report(self, at: int) -> None:
        self._begun = None
        statement = self._tokens[self._first : at + 1]
        report(
            Unexpected(
                found=self._tokens[at] if at < len(self._tokens) else None,
                before=self._tokens[at - 1] if at else None,
                first=statement[0] if statement else None,
                accepts=self._tables.accepts(self._states),
                in_block=bool(self._braces),
            ),
            self._source,
            self._diagnostics,
        )

    def _unclosed(self, brace: Token) -> None:
        self._diagnostics.add(
            "E0104", "this block is not closed", self._range(brace), "opened here", help="add a `}`"
        )

    def _refuse(self, token: Token, message: str, label: str) -> None:
        self._diagnostics.add("E0101", message, self._range(token), label)
