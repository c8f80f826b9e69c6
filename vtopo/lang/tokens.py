"""Token filter: drops the line breaks that do not end a statement."""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token

_OPEN = frozenset({"LSQB", "LPAR", "TOUCHING_LSQB", "TOUCHING_LPAR"})
_CLOSE = frozenset({"RSQB", "RPAR"})
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


class SeparatorFilter:
    """Lark's post-lexer: inside brackets and after `,`, `--`, `=` or an operator a line break is only space."""

    always_accept = ("OPEN_LONG_STRING", "OPEN_STRING", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth = 0
        last = ""
        for token in stream:
            if token.type in _OPEN:
                depth += 1
            elif token.type in _CLOSE:
                depth = max(0, depth - 1)
            elif token.type in {"LBRACE", "RBRACE"}:
                depth = 0
            elif token.type == "_SEP" and (depth or last in _GOES_ON) and ";" not in _without_comments(token):
                continue
            if token.type in _TOUCHING and last in _NO_NAMES:
                # `if(x)` is no call of `if`: only a name is called, only a name has an index.
                token = Token.new_borrow_pos(_TOUCHING[token.type], str(token), token)
            last = token.type
            yield token


def _without_comments(separator: str) -> str:
    return "\n".join(line.partition("#")[0] for line in separator.split("\n"))
