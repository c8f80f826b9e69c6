"""The syntax tree of statements, from properties to a whole file."""

from __future__ import annotations

from typing import TypeAlias

from vtopo.lang.ast.values import Address, Arrow, Declared, Expression, Reference, String, Via, Word
from vtopo.lang.source import Range
from vtopo.values import dataclass


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
    """`vtep HOST:INTERFACE -- BRIDGE` in an overlay: a tunnel end, and the bridge that it extends.

    `vtep "INTERFACE" [ADDRESS] -- BRIDGE` has no node: the interface is the machine's own, and so are the addresses.
    """

    node: Reference | None
    port: Word | String
    bridge: Reference
    range: Range
    addresses: tuple[Expression, ...] = ()


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
