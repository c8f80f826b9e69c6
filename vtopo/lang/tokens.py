"""Text to tokens, in one loop over the terminals; line breaks that do not end a statement are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lark import Token
from lark.lexer import PatternStr, TerminalDef

_OPEN = frozenset({"LSQB", "LPAR", "TOUCHING_LSQB", "TOUCHING_LPAR"})
_CLOSE = frozenset({"RSQB", "RPAR"})
_BRACES = frozenset({"LBRACE", "RBRACE"})
_GOES_ON = frozenset(
    {
        "COMMA",
        "DASHDASH",
        "ARROW",
        "BACK_ARROW",
        "DOTDOT",
        "EQUAL",
        "COMPARE",
        "SIGN",
        "SLASH",
        "STAR",
        "PERCENT",
        "AND",
        "OR",
        "NOT",
        "QMARK",
    }
)


_TOUCHING = {"TOUCHING_LSQB": "LSQB", "TOUCHING_LPAR": "LPAR"}
_NO_NAMES = frozenset({"IF", "IN", "NOT", "AND", "OR", "ON", "OFF", "AS", "NONE"})

_OVER_LINES = frozenset({"_SEP", "LONG_STRING", "OPEN_LONG_STRING"})
"""The tokens that may hold line breaks."""
_END = "_END"
_LEFT_OUT = frozenset({"COMMENT", _END})
_SPECIAL = _OPEN | _CLOSE | {"LBRACE", "RBRACE"} | _OVER_LINES | _LEFT_OUT
"""The tokens that the lexer looks at closer."""


class Kept:
    """Lark's post-lexer: it keeps the terminals that no rule takes, which are there so that lexing never fails."""

    always_accept = ("OPEN_LONG_STRING", "OPEN_STRING", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """What Lark's own lexer finds, which is not asked."""
        return stream


class Lexer:
    """Finds the tokens of a text; lexing never fails."""

    def __init__(self, terminals: Iterable[TerminalDef]) -> None:
        """`terminals` are the grammar's, the first that matches counts."""
        patterns = {terminal.name: terminal.pattern for terminal in terminals}
        name = re.compile(patterns["NAME"].to_regexp())
        self._words = {
            pattern.value: kind
            for kind, pattern in patterns.items()
            if isinstance(pattern, PatternStr) and name.fullmatch(pattern.value)
        }
        space = patterns.pop("SPACE").to_regexp()
        separator = patterns.pop("_SEP").to_regexp()
        others = "|".join(
            f"(?P<{kind}>{pattern.to_regexp()})"
            for kind, pattern in patterns.items()
            if pattern.value not in self._words
        )
        # Possessive: what no token follows at the end of a text keeps no way back for each space.
        self._pattern = re.compile(f"(?P<_SEP>{separator})|(?:{space})?+(?:{others}|(?P<{_END}>\\Z))")

    def tokens(self, text: str) -> Iterator[Token]:
        """The tokens; inside brackets and after `,`, `--`, `=` or an operator a line break is only space."""
        new = str.__new__
        words = self._words
        depth = 0
        last = ""
        line = 1
        before = -1  # the offset of the character before the line
        for match in self._pattern.finditer(text):
            kind = match.lastgroup or _END
            value = match[kind]
            end = match.end()
            start = end - len(value)
            first_line, column = line, start - before
            if kind == "NAME":
                kind = words.get(value, kind)
            elif kind in _SPECIAL:
                if kind in _LEFT_OUT:
                    continue
                if kind in _OVER_LINES:
                    breaks = value.count("\n")
                    if breaks:
                        line += breaks
                        before = start + value.rfind("\n")
                    if kind == "_SEP" and (depth or last in _GOES_ON) and ";" not in _without_comments(value):
                        continue
                elif kind in _OPEN:
                    depth += 1
                    if last in _NO_NAMES:
                        # `if(x)` is no call of `if`: only a name is called, only a name has an index.
                        kind = _TOUCHING.get(kind, kind)
                else:
                    depth = max(0, depth - 1) if kind in _CLOSE else 0
            last = kind
            token = new(Token, value)
            token.type = kind
            token.value = value
            token.start_pos = start
            token.line = first_line
            token.column = column
            token.end_line = line
            token.end_column = end - before
            token.end_pos = end
            yield token


def _without_comments(separator: str) -> str:
    return "\n".join(line.partition("#")[0] for line in separator.split("\n"))
