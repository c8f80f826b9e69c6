"""A lab's text as statements, blocks and comments in their order: all that its layout is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from typing import TypeAlias

from vtopo.lang.format_spaces import Spacing
from vtopo.lang.parser import tokens
from vtopo.lang.tokens import Token
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own; `blank`: whether a blank line stands before it."""

    text: str
    blank: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands between two tokens.

    `trailing` is the comment on the first one's line, `own` those on lines of their own; `blank`: whether a
    blank line stands before the second; `broken`: whether that is on a new line at all.
    """

    trailing: str = ""
    own: tuple[Comment, ...] = ()
    broken: bool = False
    blank: bool = False

    @property
    def has_comments(self) -> bool:
        return bool(self.trailing or self.own)


_NO_BREAK = Gap()


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of a statement, what stands before it, and whether a space does."""

    text: str
    space: bool
    gap: Gap


@dataclass(slots=True)
class Block:
    """The entries between two braces; `on_one_line`: whether the source has it so."""

    gap: Gap
    entries: list[Entry] = field(default_factory=list)
    trailing: str = ""
    """The comment on the line of the opening brace."""
    on_one_line: bool = False


@dataclass(slots=True)
class Statement:
    """Tokens and blocks up to a separator; `blank`: whether a blank line stands before it."""

    blank: bool
    items: list[Piece | Block] = field(default_factory=list)
    trailing: str = ""


Entry: TypeAlias = Statement | Comment


@dataclass(frozen=True, slots=True)
class Lexed:
    """A text and its tokens, separators among them."""

    text: str
    tokens: tuple[Token, ...]


def lex(text: str) -> Lexed:
    """The tokens of a text, which need not parse."""
    return Lexed(text, tuple(tokens(text)))


def read(lexed: Lexed, renamed: Callable[[Token], str] = str) -> list[Entry]:
    """The entries of a text; `renamed` gives each token's text."""
    return _Reader(lexed.text, renamed).read(lexed.tokens)


def comments(lexed: Lexed) -> Iterator[str]:
    """Every comment of a text."""
    end = 0
    for token in lexed.tokens:
        if token.type != _SEPARATOR:
            start = token.start_pos
            yield from _comments(lexed.text[end:start])
            end = start + len(token)
    yield from _comments(lexed.text[end:])


def significant(lexed: Lexed) -> Iterator[tuple[str, str]]:
    """What a text's tree is made of: its tokens, with one separator between statements and none at a body's ends."""
    before = "{"
    separated = False
    for token in lexed.tokens:
        if token.type == _SEPARATOR:
            separated = True
            continue
        text = str(token)
        if separated and before != "{" and text != "}":
            yield _SEPARATOR, ""
        separated = False
        yield token.type, text
        before = text


_SEPARATOR = "_SEP"
"""A statement's end: line breaks, `;`, and comments, which lex as part of it."""


def _comments(between: str) -> list[str]:
    """The comments in what stands between two tokens."""
    if "#" not in between:
        return []
    return [_comment(line) for line in between.split("\n") if "#" in line]


def _gap(text: str) -> Gap:
    """Reads what stands between two tokens; there is nothing else than space, `;` and comments."""
    if "\n" not in text and "#" not in text:
        return _NO_BREAK
    first, *others = text.split("\n")
    own: list[Comment] = []
    blank = False
    # The last line is the next token's own, unless the text ends here.
    for number, line in enumerate(others, 1):
        comment = _comment(line)
        if comment:
            own.append(Comment(comment, blank))
            blank = False
        elif number < len(others) and not line.strip():
            blank = True
    return Gap(_comment(first), tuple(own), bool(others), blank)


def _comment(line: str) -> str:
    at = line.find("#")
    return "" if at < 0 else line[at:].rstrip()


class _Reader:
    """Goes through the tokens once, with the blocks that are open and, in each, the statement that is."""

    def __init__(self, text: str, renamed: Callable[[Token], str]) -> None:
        self._text = text
        self._renamed = renamed
        self._bodies: list[list[Entry]] = [[]]
        self._open: list[tuple[Statement, Block, Spacing, int]] = []
        self._statement: Statement | None = None
        self._spacing = Spacing()
        self._last: Statement | Block | None = None
        """What a comment on the same line belongs to."""

    def read(self, tokens: Iterable[Token]) -> list[Entry]:
        end = 0
        for token in tokens:
            if token.type == _SEPARATOR:
                self._statement = None
                continue
            start = token.start_pos
            text = str(token)
            after = start + len(text)
            before = self._text[end:start]
            if text == "}" and self._open:
                self._between(before)
                self._close(after)
            else:
                self._put(token, text, start, before)
            end = after
        self._between(self._text[end:])
        return self._bodies[0]

    def _put(self, token: Token, text: str, start: int, before: str) -> None:
        statement = self._statement
        gap = _NO_BREAK
        if statement is None:
            statement = self._statement = Statement(self._between(before).blank)
            self._bodies[-1].append(statement)
            self._spacing = Spacing()
        elif before not in {"", " "}:
            gap = _gap(before)
        space = self._spacing.add(text, bool(before))
        self._last = statement
        if text == "{":
            self._open_block(statement, gap, start)
        else:
            statement.items.append(Piece(self._renamed(token), space, gap))

    def _open_block(self, statement: Statement, gap: Gap, start: int) -> None:
        block = Block(gap)
        statement.items.append(block)
        self._open.append((statement, block, self._spacing, start))
        self._bodies.append(block.entries)
        self._statement = None
        self._last = block

    def _close(self, end: int) -> None:
        statement, block, self._spacing, start = self._open.pop()
        self._bodies.pop()
        block.on_one_line = "\n" not in self._text[start:end]
        self._spacing.add("}", True)
        self._statement = self._last = statement

    def _between(self, text: str) -> Gap:
        """Puts the comments between two statements where they belong."""
        gap = _gap(text if self._last is not None else "\n" + text)
        if gap.trailing and self._last is not None:
            self._last.trailing = gap.trailing
        self._bodies[-1] += gap.own
        return gap
