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
    range: Range

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)


@dataclass(frozen=True, slots=True)
class Index:
    """`[1, 3..4]` after a name; `spans` is None for `[*]`."""

    spans: tuple[Span, ...] | None
    range: Range


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
    """The text of a quoted string, escapes undone."""

    text: str
    range: Range


@dataclass(frozen=True, slots=True)
class Switch:
    """`on` or `off`."""

    value: bool
    range: Range


Value: TypeAlias = Integer | Decimal | Quantity | Address | Mac | String | Switch | Reference


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
    """`KIND NAME { … }`: one node, or as many as the name's indices say."""

    kind: Word
    declared: Declared
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link as written: `r1:up 10.0.0.1/31 { … }`; `unnumbered` says `none` in place of addresses."""

    node: Reference
    port: Word | None
    addresses: tuple[Address, ...]
    unnumbered: bool
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class LinkStatement:
    """`link A -- B { … }`; a single block at the end is the link's, of two the first is the right end's."""

    left: Endpoint
    right: Endpoint
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class OverlayStatement:
    """`overlay NAME { … }`: a VXLAN segment."""

    declared: Declared
    block: Block | None
    range: Range


@dataclass(frozen=True, slots=True)
class VtepStatement:
    """`vtep HOST:INTERFACE -- BRIDGE` in an overlay: a tunnel end, and the bridge that it extends."""

    node: Reference
    port: Word
    bridge: Reference
    range: Range


@dataclass(frozen=True, slots=True)
class Clause:
    """A word and its value at the end of an expectation: `within 10s`."""

    key: Word
    value: Value
    range: Range


@dataclass(frozen=True, slots=True)
class ExpectStatement:
    """`expect [not] A VERB TARGET [WORD VALUE …]`."""

    negated: bool
    subject: Reference
    verb: Word
    target: Reference | Address
    port: Word | None
    clauses: tuple[Clause, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Property:
    """`key value … { … }`."""

    key: Word
    values: tuple[Value, ...]
    block: Block | None
    range: Range


Statement: TypeAlias = (
    LabStatement
    | NodeStatement
    | LinkStatement
    | OverlayStatement
    | VtepStatement
    | ExpectStatement
    | Property
)


@dataclass(frozen=True, slots=True)
class File:
    """A whole lab file."""

    path: str
    statements: tuple[Statement, ...] = ()
