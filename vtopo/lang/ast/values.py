"""The syntax tree of what stands in statements: names, literals, expressions."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import TypeAlias

from vtopo.lang.source import Range
from vtopo.values import dataclass

IPInterface: TypeAlias = IPv4Interface | IPv6Interface
"""An address with its prefix length."""


BIGGEST = 2**63 - 1
"""Numbers beyond this are refused where they stand; nothing in a lab counts that far."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name or a bare word."""

    text: str
    range: Range


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from `first` to `last`, both included; a single number is a span of one that is not `ranged`."""

    first: int
    last: int
    ranged: bool

    @property
    def count(self) -> int:
        """How many numbers it stands for."""
        return max(0, self.last - self.first + 1)


@dataclass(frozen=True, slots=True)
class Index:
    """`[1, 3..4]` or `["red"]` after a name; `items` is None for `[*]`."""

    items: tuple[Expression, ...] | None
    range: Range

    @property
    def spans(self) -> tuple[Span | str, ...] | None:
        """The numbers and the strings, once the items are worked out."""
        return tuple(map(_span, self.items)) if self.items is not None else None


@dataclass(frozen=True, slots=True)
class Declared:
    """The name that a declaration gives, with the index that makes it many: `h[1..3]`."""

    name: Word
    indices: tuple[Index, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Reference:
    """A dotted path to a node, each part with its indices: `pod[1].h[1..4]`. A bare word parses as one too."""

    parts: tuple[Declared, ...]
    range: Range

    @property
    def word(self) -> str | None:
        """The text, if this is a single bare word."""
        return self.parts[0].name.text if len(self.parts) == 1 and not self.parts[0].indices else None


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number without a unit."""

    value: int
    range: Range


@dataclass(frozen=True, slots=True)
class Decimal:
    """A number with digits on both sides of a point, as written."""

    text: str
    range: Range


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit, as written: `10s`."""

    number: str
    unit: str
    range: Range


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address, with a prefix length or without; `value` is None where it is not a valid one."""

    text: str
    value: IPInterface | None
    range: Range

    @property
    def has_length(self) -> bool:
        return "/" in self.text


@dataclass(frozen=True, slots=True)
class Mac:
    """A MAC address as written."""

    text: str
    range: Range


@dataclass(frozen=True, slots=True)
class String:
    """A quoted string, escapes undone: stretches of text and, for each `${…}`, its expression."""

    parts: tuple[str | Expression, ...]
    range: Range

    @property
    def text(self) -> str:
        """The whole text, once the expressions are worked out."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Switch:
    """`on` or `off`."""

    value: bool
    range: Range


@dataclass(frozen=True, slots=True)
class Interval:
    """`1..4`: whole numbers, both ends included."""

    first: Expression
    last: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Pair:
    """`8080:80`."""

    first: Expression
    second: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Arrow:
    """`->` or `<-` between the values of a property."""

    text: str
    range: Range


@dataclass(frozen=True, slots=True)
class ListValue:
    """`[a, b]`."""

    items: tuple[Expression, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Call:
    """A function's call: `subnet(10.0.0.0/8, 24, 3)`."""

    function: Word
    arguments: tuple[Expression, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Unary:
    """`not x` or `-x`."""

    operator: str
    operand: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Binary:
    """`a + b`, `a == b`, `a and b` …"""

    operator: str
    left: Expression
    right: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? then : otherwise`."""

    condition: Expression
    then: Expression
    otherwise: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Group:
    """`(x)`: never one of a property's own words."""

    inner: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Late:
    """An expression that asks for an address: it is worked out once addresses are handed out.

    `scope` are the variables that it sees (vtopo.model.scope.Variables); no parser makes one.
    """

    expression: Expression
    scope: object
    range: Range


Value: TypeAlias = (
    Integer
    | Decimal
    | Quantity
    | Address
    | Mac
    | String
    | Switch
    | Reference
    | Interval
    | Pair
    | Arrow
    | ListValue
    | Late
)
"""What an expression comes to. A Reference is a node's name, or a property's own word."""


Expression: TypeAlias = Value | Call | Unary | Binary | Choice | Group


def _span(item: Expression) -> Span | str:
    if isinstance(item, Interval):
        assert isinstance(item.first, Integer)
        assert isinstance(item.last, Integer)
        return Span(item.first.value, item.last.value, True)
    if isinstance(item, String):
        return item.text
    assert isinstance(item, Integer)
    return Span(item.value, item.value, False)


@dataclass(frozen=True, slots=True)
class Via:
    """What a plain statement came through: a turn of a `for`, a template, a module; the innermost first.

    `words` say which, `names` the variables that a `for` has set, in its order.
    """

    words: str
    names: tuple[tuple[str, Expression], ...]
    range: Range
    outer: Via | None = None
