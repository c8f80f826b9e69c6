"""Text to tokens, in one loop over the terminals; line breaks that do not end a statement are left out."""

from __future__ import annotations

import re
from collections.abc import Generator

from vtopo.lang.grammar import Grammar

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


class Token(str):
    """What stands in a text, with its kind and place; lines and columns count from 1, the end is exclusive."""

    __slots__ = ("column", "end_column", "end_line", "line", "start_pos", "type")

    type: str
    start_pos: int
    line: int
    column: int
    end_line: int
    end_column: int


class Lexer:
    """Finds the tokens of a text; lexing never fails."""

    def __init__(self, grammar: Grammar) -> None:
        self._words = grammar.words
        others = "|".join(
            f"(?P<{kind}>{pattern})"
            for kind, pattern in grammar.patterns.items()
            if kind not in {"SPACE", "_SEP"}
        )
        space, separator = grammar.patterns["SPACE"], grammar.patterns["_SEP"]
        self._pattern = re.compile(f"(?P<_SEP>{separator})|(?:{space})?(?:{others}|(?P<{_END}>\\Z))")

    def tokens(self, text: str) -> Generator[Token, int | None]:
        """The tokens; inside brackets and after `,`, `--`, `=` or an operator a line break is only space.

        Who knows the statement that begins the line after a separator sends how many columns it takes, and is given
        the token after it.
        """
        new = str.__new__
        words = self._words
        depth = 0
        last = ""
        line = 1
        before = -1  # the offset of the character before the line
        matches = self._pattern.finditer(text)
        while True:
            for match in matches:
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
                        if kind == "_SEP":
                            if last == "_SEP":  # the rest of a long one
                                continue
                            if (depth or last in _GOES_ON) and ";" not in _without_comments(value):
                                continue
                            depth = 0  # `;` ends a statement, whatever that has left open
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
                token.start_pos = start
                token.line = first_line
                token.column = column
                token.end_line = line
                token.end_column = end - before
                columns = yield token
                if columns is not None:
                    matches = self._pattern.finditer(text, before + 1 + columns)
                    last = ""
                    break
            else:
                return


def _without_comments(separator: str) -> str:
    return "\n".join(line.partition("#")[0] for line in separator.split("\n"))
