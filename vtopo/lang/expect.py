"""Reads what stands after `expect`: a claim, from the values and signs that it was parsed into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.lang.tokens import Token
from vtopo.values import dataclass

Part: TypeAlias = "ast.Expression | ast.Word | Token"
"""A value, a sign of comparison, or a comma."""

VERBS = ("reaches", "runs")
QUANTITIES = ("rate", "delay", "loss")
SHAPE = "`expect a reaches b`"
_SHAPES = {
    "runs": '`expect a runs "ip route" prints "default via"`',
    "path": "`expect path a -> c through r1, r2`",
    "rate": "`expect rate a -> b >= 9Mbit`",
    "delay": "`expect delay a -> b <= 25ms`",
    "loss": "`expect loss a -> b <= 1%`",
}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, and how long it may take to hold."""

    claim: ast.Claim
    within: ast.Expression | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a claim; without a `range`, it is the whole."""

    message: str
    range: Range | None
    label: str = ""
    help: str = ""


class _Unread(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def claim(parts: Sequence[Part]) -> Claimed | Fault:
    """The claim that the parts of an expectation make."""
    reader = _Reader(list(parts))
    try:
        read = reader.claim()
        within = reader.value("a time, such as 10s") if reader.word("within") else None
        reader.end()
        return Claimed(read, within)
    except _Unread as unread:
        return unread.fault


class _Reader:
    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._at = 0
        self._words: list[str] = []
        """What could have stood at the next place."""
        self._shape = SHAPE

    def claim(self) -> ast.Claim:
        first, second = self._parts[0], self._parts[1] if len(self._parts) > 1 else None
        word = first.word if isinstance(first, ast.Reference) else None
        # `rate reaches b` speaks of a host named rate.
        if word in (*QUANTITIES, "path") and not (isinstance(second, ast.Reference) and second.word in VERBS):
            assert isinstance(first, ast.Reference)
            self._at = 1
            self._shape = _SHAPES[word]
            return self._between(first.parts[0].name)
        subject = self.reference("a node")
        if self.word("reaches"):
            return self._reaches(subject)
        if self.word("runs"):
            self._shape = _SHAPES["runs"]
            command = self.value("a command")
            return ast.Runs(subject, command, self.value("a text") if self.word("prints") else None)
        raise self._unexpected()

    def _reaches(self, subject: ast.Reference) -> ast.Reaches:
        target = self.value("a node, an endpoint or an address")
        port: ast.Word | ast.String | None = None
        if isinstance(target, ast.Pair):
            port = _port(target.second)
            if port is None:
                raise _Unread(Fault("an interface's name is needed here", target.second.range))
            target = target.first
        tcp: ast.Expression | None = None
        if self.word("on"):
            if not self.word("tcp"):
                raise self._unexpected()
            tcp = self.value("a port's number")
        return ast.Reaches(subject, target, port, tcp)

    def _between(self, quantity: ast.Word) -> ast.Claim:
        """`QUANTITY a -> b`, and what follows it."""
        subject = self.reference("a node")
        if not isinstance(self._next(), ast.Arrow):
            raise self._unexpected("`->`")
        self._at += 1
        target = self.value("a node or an address")
        if quantity.text == "path":
            if not self.word("through"):
                raise self._unexpected()
            through = [self.reference("a node")]
            while isinstance(self._next(), Token):
                self._at += 1
                through.append(self.reference("a node"))
            return ast.PathTaken(subject, target, tuple(through))
        sign = self._next()
        if not isinstance(sign, ast.Word):
            raise self._unexpected("`<=` or `>=`")
        self._at += 1
        return ast.Measured(quantity, subject, target, sign.text, self.value("a quantity"))

    # Parts

    def _next(self) -> Part | None:
        return self._parts[self._at] if self._at < len(self._parts) else None

    def word(self, text: str) -> bool:
        """Whether the next part is this word, which is then taken."""
        part = self._next()
        found = isinstance(part, ast.Reference) and part.word == text
        found = found or (text == "on" and isinstance(part, ast.Switch) and part.value)
        self._at += found
        self._words = [] if found else [*self._words, f"`{text}`"]
        return found

    def value(self, what: str) -> ast.Expression:
        """The next part, which is to be a value."""
        part = self._next()
        if part is None or isinstance(part, ast.Word | Token | ast.Arrow):
            raise self._unexpected(what)
        self._at += 1
        self._words = []
        return part

    def reference(self, what: str) -> ast.Reference:
        """The next part, which is to be a name."""
        part = self.value(what)
        if not isinstance(part, ast.Reference):
            raise _Unread(Fault("a node is needed here", part.range, f"expected {what}"))
        return part

    def end(self) -> None:
        """Nothing may follow."""
        if self._next() is not None:
            raise self._unexpected()

    def _unexpected(self, expected: str = "") -> _Unread:
        part = self._next()
        wanted = expected or " or ".join(dict.fromkeys(self._words))
        label = f"expected {wanted}" if wanted else ""
        if part is None:
            return _Unread(Fault("this expectation ends too early", None, label, f"such as {self._shape}"))
        shown = _text(part)
        words = [word.strip("`") for word in self._words]
        place = part.range if not isinstance(part, Token) else None
        return _Unread(Fault(f"unexpected {shown}", place, label, did_you_mean(shown.strip("`"), words)))


def _text(part: Part) -> str:
    if isinstance(part, ast.Reference) and part.word is not None:
        return f"`{part.word}`"
    if isinstance(part, ast.Word | ast.Arrow):
        return f"`{part.text}`"
    return f"`{part}`" if isinstance(part, Token) else "value"


def _port(value: ast.Expression) -> ast.Word | ast.String | None:
    if isinstance(value, ast.Reference) and value.word is not None:
        return value.parts[0].name
    return value if isinstance(value, ast.String) else None
