"""Where a space stands between two tokens of one statement."""

from __future__ import annotations

_OPEN = frozenset({"(", "["})
_CLOSE = frozenset({")", "]"})
_TIGHT = frozenset({".", ".."})
_OPERATORS = frozenset(
    {"--", "->", "<-", "=", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "?", ","}
)
_WORD_OPERATORS = frozenset({"and", "or", "not", "in", "if"})
"""Words that are never called or indexed: a bracket after them begins a value."""
_DECLARES = frozenset({"host", "bridge", "container", "vm", "uplink", "template"})
"""What begins a statement in which `:` stands before templates, not before an interface."""


class Spacing:
    """Reads one statement's tokens in order and says, for each, whether a space stands before it.

    The source's own choice is kept only where it has a meaning, or may have one: before `[` and `(`, which
    index or call the word that they touch, and beside signs that this class does not know.
    """

    def __init__(self) -> None:
        self._first = ""
        self._before = ""
        self._prefix = False
        """Whether the token before is a sign of what follows it, as the `-` of `(-1)`."""
        self._choices = [0]
        """For each open bracket, the `?` that wait for their `:`."""
        self._spaced_colon = False

    def add(self, text: str, apart: bool) -> bool:
        """Whether a space stands before `text`; `apart`: whether the source has it away from the token before."""
        space = self._space(text, apart)
        self._remember(text, apart)
        return space

    def _space(self, text: str, apart: bool) -> bool:
        before = self._before
        if not before or before in _OPEN or before in _TIGHT or self._prefix:
            return False
        if text in _CLOSE or text in _TIGHT or text == ",":
            return False
        if text == ":":
            return self._colon() or _has_colons(before)
        if before == ":":
            return self._spaced_colon or _has_colons(text)
        if before in _OPERATORS or text in _OPERATORS:
            return True
        if text in _OPEN:
            return apart or before in _WORD_OPERATORS
        return apart or (_is_value(text) and (_is_value(before) or before in _CLOSE))

    def _colon(self) -> bool:
        """`c ? a : b` and `host h : router` are spaced, `a:eth0` and `8080:80` are not."""
        return self._choices[-1] > 0 or (len(self._choices) == 1 and self._first in _DECLARES)

    def _remember(self, text: str, apart: bool) -> None:
        self._prefix = (text == "-" and self._begins_value()) or (text == "/" and self._before == "split")
        if text == ":":
            self._spaced_colon = self._colon()
            self._choices[-1] = max(0, self._choices[-1] - 1)
        elif text == "?":
            self._choices[-1] += 1
        elif text in _OPEN:
            self._choices.append(0)
        elif text in _CLOSE and len(self._choices) > 1:
            self._choices.pop()
        self._first = self._first or text
        self._before = text

    def _begins_value(self) -> bool:
        before = self._before
        return before in _OPEN | _TIGHT | _OPERATORS | _WORD_OPERATORS or before in {"", ":"}


def _has_colons(text: str) -> bool:
    """Whether a token is an IPv6 or MAC address, which would take in a colon beside it."""
    return ":" in text and text[0] != '"'


def _is_value(text: str) -> bool:
    """Whether a token is a word, a literal or a block's brace, not a sign."""
    return text[0].isalnum() or text[0] in '_"{}'
