"""What is expected of a running lab: claims, expectations, faults, scenarios."""

from __future__ import annotations

from typing import TypeAlias

from vtopo.lang.source import Range
from vtopo.model.lab.network import IPAddress
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """`subject` reaches `target` at `address`: by ICMP echo, or a connection to the port `tcp`."""

    subject: str
    target: str
    address: IPAddress
    tcp: int | None

    def __str__(self) -> str:
        return f"{self.subject} reaches {self.target}{f' on tcp {self.tcp}' if self.tcp is not None else ''}"


@dataclass(frozen=True, slots=True)
class Output:
    """A command in `subject` succeeds, and prints the text `prints`; a string is for its shell."""

    subject: str
    command: str | tuple[str, ...]
    prints: str | None

    def __str__(self) -> str:
        command = self.command if isinstance(self.command, str) else " ".join(self.command)
        return (
            f"{self.subject} runs {command!r}{f' prints {self.prints!r}' if self.prints is not None else ''}"
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured `quantity` from `subject` to `target`, compared with `bound`: rate in bit/s, delay in µs (one way
    there and back), loss in millionths."""

    quantity: str
    subject: str
    target: str
    address: IPAddress
    comparison: str
    bound: int

    def __str__(self) -> str:
        bound = shown_bound(self.quantity, self.bound)
        return f"{self.quantity} {self.subject} -> {self.target} {self.comparison} {bound}"


@dataclass(frozen=True, slots=True)
class Way:
    """Packets from `subject` to `target` pass through these nodes in this order."""

    subject: str
    target: str
    address: IPAddress
    through: tuple[str, ...]

    def __str__(self) -> str:
        return f"path {self.subject} -> {self.target} through {', '.join(self.through)}"


Claim: TypeAlias = Reach | Output | Measure | Way


def shown_bound(quantity: str, bound: int) -> str:
    """A measure's bound as a reader would write it."""
    if quantity == "rate":
        return f"{bound / 1e6:g}Mbit"
    return f"{bound / 1000:g}ms" if quantity == "delay" else f"{bound / 10000:g}%"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim that comes true before `seconds` have passed, or, `negated`, does not in all that time."""

    claim: Claim
    negated: bool
    seconds: float
    range: Range

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.claim}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a node or to a link in a scenario: `nodes` are the node, or the link's two."""

    nodes: tuple[str, ...]
    action: str
    range: Range

    def __str__(self) -> str:
        return f"{'node' if len(self.nodes) == 1 else 'link'} {' '.join(self.nodes)} {self.action}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults and expectations in turn."""

    name: str
    steps: tuple[Fault | Expectation, ...]
    range: Range
