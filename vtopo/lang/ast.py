"""The syntax tree of a lab file: what was written, with ranges, before anything is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import TypeAlias

from vtopo.lang.source import Range

IPInterface: TypeAlias = IPv4Interface | IPv6Interface
"""An address with its prefix length."""


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


@dataclass(frozen=True, slots=True)
class Block:
    """The statements between braces."""

    statements: tuple[Statement, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class LabStatement:
    """`lab NAME { … }`: the lab's name and its lab-wide settings."""

    name: Word
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class NodeStatement:
    """`KIND NAME: TEMPLATE, … on MACHINE { … }`: one node, or as many as the name's indices say.

    What a module holds is a node of the kind `module` once it is unrolled.
    """

    kind: Word
    declared: Declared
    templates: tuple[Word, ...]
    machine: Word | None
    block: Block | None
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link as written: `r1:up 10.0.0.1/31 { … }`; its values are addresses, or the word `none`."""

    node: Reference
    port: Word | String | None
    values: tuple[Expression, ...]
    block: Block | None
    range: Range

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses, once the values are worked out."""
        return tuple(value for value in self.values if isinstance(value, Address))

    @property
    def unnumbered(self) -> bool:
        """Whether it says `none`."""
        return any(isinstance(value, Reference) for value in self.values)


@dataclass(frozen=True, slots=True)
class LinkStatement:
    """`link A -- B { … }`; a single block at the end is the link's, of two the first is the right end's."""

    left: Endpoint
    right: Endpoint
    block: Block | None
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class OverlayStatement:
    """`overlay NAME { … }`: a VXLAN segment."""

    declared: Declared
    block: Block | None
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class VtepStatement:
    """`vtep HOST:INTERFACE -- BRIDGE` in an overlay: a tunnel end, and the bridge that it extends."""

    node: Reference
    port: Word | String
    bridge: Reference
    range: Range


@dataclass(frozen=True, slots=True)
class Reaches:
    """`A reaches B[:PORT] [on tcp N]`: by ICMP echo, or a TCP connection."""

    subject: Reference
    target: Expression
    port: Word | String | None
    tcp: Expression | None


@dataclass(frozen=True, slots=True)
class Runs:
    """`A runs "command" [prints "text"]`."""

    subject: Reference
    command: Expression
    prints: Expression | None


@dataclass(frozen=True, slots=True)
class Measured:
    """`rate A -> B >= VALUE`, and the same of `delay` and `loss`."""

    quantity: Word
    subject: Reference
    target: Expression
    comparison: str
    bound: Expression


@dataclass(frozen=True, slots=True)
class PathTaken:
    """`path A -> B through C, D`."""

    subject: Reference
    target: Expression
    through: tuple[Reference, ...]


Claim: TypeAlias = Reaches | Runs | Measured | PathTaken


@dataclass(frozen=True, slots=True)
class ExpectStatement:
    """`expect [not] CLAIM [within TIME]`."""

    negated: bool
    claim: Claim
    within: Expression | None
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """`key value … { … }`."""

    key: Word
    values: tuple[Expression, ...]
    block: Block | None
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class DirectionStatement:
    """`-> { … }` or `a -> b { … }` in a link's block: what holds one way only.

    Without names, `->` is from the left end to the right one.
    """

    left: Reference | None
    arrow: Arrow
    right: Reference | None
    block: Block
    range: Range


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME = VALUE` in the block of `use`: a value for the module's param."""

    name: Word
    value: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class UseStatement:
    """`use "FILE" [as NAME] { … }`: a module, or a library where it has no name."""

    source: String
    declared: Declared | None
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class PoolStatement:
    """`pool NAME PREFIX split /LENGTH`: addresses to hand out."""

    declared: Declared
    prefix: Expression
    length: Expression
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class MachineStatement:
    """`machine NAME { … }`: a machine that nodes may be placed on."""

    name: Word
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class ScenarioStatement:
    """`scenario "NAME" { … }`: faults and expectations in turn."""

    name: String
    block: Block
    range: Range
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class ParamStatement:
    """`param NAME = DEFAULT in VALUES`: what a run may set."""

    name: Word
    default: Expression | None
    within: Expression | None
    range: Range


@dataclass(frozen=True, slots=True)
class LetStatement:
    """`let NAME = VALUE`."""

    name: Word
    value: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class Turn:
    """`NAME in VALUES` of a `for`."""

    name: Word
    values: Expression
    range: Range


@dataclass(frozen=True, slots=True)
class ForStatement:
    """`for NAME in VALUES, … { … }`: the last name turns fastest."""

    turns: tuple[Turn, ...]
    block: Block
    range: Range


@dataclass(frozen=True, slots=True)
class IfStatement:
    """`if CONDITION { … } else { … }`."""

    condition: Expression
    then: Block
    otherwise: Block | IfStatement | None
    range: Range


@dataclass(frozen=True, slots=True)
class TemplateStatement:
    """`template NAME: BASE, … { … }`: what nodes may share."""

    name: Word
    bases: tuple[Word, ...]
    block: Block
    range: Range


@dataclass(frozen=True, slots=True)
class DefaultStatement:
    """`default KIND { … }`: for all nodes of a kind, or all links, of this file."""

    kind: Word
    block: Block
    range: Range


Statement: TypeAlias = (
    LabStatement
    | NodeStatement
    | LinkStatement
    | OverlayStatement
    | VtepStatement
    | ExpectStatement
    | ScenarioStatement
    | Property
    | DirectionStatement
    | Assignment
    | UseStatement
    | PoolStatement
    | MachineStatement
    | ParamStatement
    | LetStatement
    | ForStatement
    | IfStatement
    | TemplateStatement
    | DefaultStatement
)


@dataclass(frozen=True, slots=True)
class File:
    """A whole lab file."""

    path: str
    statements: tuple[Statement, ...] = ()
