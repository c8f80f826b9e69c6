"""Diagnostics as data: a code, a message, the places it speaks of, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import field

from vtopo.lang.ast import Via
from vtopo.lang.source import Range
from vtopo.values import dataclass

MOST_ERRORS = 100
"""A run keeps this many diagnostics and counts the rest: nobody reads more."""


MOST_COUNTED = 900
"""When so many more have come, the run ends."""


class Severity(enum.Enum):
    """How grave a diagnostic is; only errors stop a compile."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that a diagnostic speaks of, and what it says there."""

    range: Range
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing wrong with a lab's text.

    `code` is a key of `CODES`; `label` stands beside the caret under `range`; `others` are further places
    ("first declared here"); `help` says what to do. `via` is what the text was unrolled through, in whose
    first turn it was found.
    """

    code: str
    message: str
    range: Range
    label: str = ""
    others: tuple[Label, ...] = ()
    help: str = ""
    via: Via | None = field(default=None, compare=False)

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self.code.startswith("W") else Severity.ERROR


CODES: dict[str, str] = {
    "E0101": "something else was expected here",
    "E0102": "a character that no statement has",
    "E0103": "a string that is not closed",
    "E0104": "a block that is not closed",
    "E0105": "not an IP address or prefix",
    "E0106": "a number out of all bounds",
    "E0201": "an unknown property",
    "E0202": "an unknown statement",
    "E0203": "a value of another type is needed",
    "E0204": "a unit is missing or wrong",
    "E0205": "a property given twice",
    "E0206": "a value outside its bounds",
    "E0207": "a property that must be given",
    "E0208": "a statement in the wrong place",
    "E0209": "a second `lab` statement",
    "E0210": "a param without a value, or a value without a param",
    "E0211": "a value that a param does not take",
    "E0212": "a value of another type in an expression",
    "E0213": "a division by zero",
    "E0214": "a function that cannot be worked out",
    "E0215": "limits that contradict each other",
    "E0216": "a container that cannot be as it says",
    "E0217": "VLANs, ports or interfaces that contradict each other",
    "E0218": "namespaces, ids or files that a host cannot have",
    "E0219": "user data that cloud-init cannot read",
    "E0220": "an uplink that cannot be as it says",
    "E0221": "a vm that cannot be as it says",
    "E0301": "a name declared twice",
    "E0302": "an unknown node",
    "E0303": "an unknown interface",
    "E0304": "a name that is too long for the kernel",
    "E0305": "an interface used twice",
    "E0306": "a node of another kind is needed",
    "E0307": "ranges of different lengths",
    "E0308": "a name that the kernel does not take",
    "E0309": "more nodes or links than a lab may have",
    "E0310": "an unknown variable, function or template",
    "E0311": "something defined by itself",
    "E0312": "a variable's name with a hyphen",
    "E0313": "something that would depend on an address",
    "E0401": "an address given twice",
    "E0402": "an address outside its subnet",
    "E0403": "a subnet that has run dry",
    "E0404": "an address that no interface can have",
    "E0405": "two subnets for one segment",
    "E0406": "a next hop that no interface reaches",
    "E0407": "an address where none can be",
    "E0501": "an MTU too large for its overlay",
    "E0502": "a tunnel end without an address",
    "E0503": "tunnel ends of different address families",
    "E0504": "a VNI used twice in one namespace",
    "E0505": "a bridge in two overlays of one tunnel end",
    "E0506": "an MTU too small for IPv6",
    "E0507": "tunnel ends that do not reach each other",
    "E0508": "a multicast group that cannot be one",
    "E0509": "a tunnel end of the machine's own without another end",
    "E0607": "nodes that wait for each other",
    "E0701": "a file that cannot be read",
    "E0702": "nodes in a file that is used without a name",
    "E0703": "a template that cannot be rendered",
    "E0801": "a file of another tool that cannot be read",
    "E0901": "a resource that the system refused",
    "W0601": "bridges joined in a ring",
    "W0602": "something declared and never used",
    "W0603": "a node without a link",
    "W0604": "neighbours in no common subnet",
    "W0605": "one subnet on two segments",
    "W0606": "more promised than there is",
    "W0607": "a bridge's port that passes nothing",
    "W0608": "indices that no node has",
    "W0609": "a scenario that does nothing",
}
"""Every code with its one-line meaning."""

REFUSED = "E0901"
"""What a run fails of, in the words of the system that refused."""


FOLLOWING = frozenset(
    {"E0207", "E0302", "E0303", "E0310", "E0406", "E0407", "E0502", "W0602", "W0603", "W0608", "W0609"}
)
"""Codes of what is missing: where statements could not be read, it may be in one of them."""


WITHOUT_ADDRESS = frozenset({"E0406", "E0407", "E0502"})
"""Codes of missing addresses: where one could not be read, it may be that."""


_UNREAD = frozenset({"E0101", "E0102", "E0103", "E0104", "E0202"})


class Enough(Exception):
    """So many errors that looking for more helps nobody."""


class Diagnostics:
    """Collects a run's diagnostics; the first `MOST_ERRORS` are kept, the rest counted."""

    def __init__(self) -> None:
        self._kept: dict[Diagnostic, None] = {}
        self.dropped = 0
        self.ignored: frozenset[str] = frozenset()
        """Codes that are not added any more."""
        self.unread: set[str] = set()
        """Names of properties with a value that could not be read, and so is missing without having been forgotten."""
        self.variables: set[str] = set()
        """Names of all variables that were declared: what a word that nothing is known of may have meant."""
        self.via: Via | None = None
        """What the statement at hand was unrolled through; every diagnostic that is added gets it."""

    def add(
        self,
        code: str,
        message: str,
        range: Range,
        label: str = "",
        *,
        others: Iterable[Label] = (),
        help: str = "",
    ) -> None:
        """Keep a diagnostic; the same one again (from each round of a range) counts once. Enough ends the run."""
        assert code in CODES, code
        if code in self.ignored:
            return
        diagnostic = Diagnostic(code, message, range, label, tuple(others), help, self.via)
        if len(self._kept) < MOST_ERRORS:
            self._kept[diagnostic] = None
        elif diagnostic not in self._kept:
            self.dropped += 1
            if self.dropped >= MOST_COUNTED and self.failed:
                raise Enough

    def expect_gaps(self) -> None:
        """Where a statement could not be read, and so is not there, what it might have had is not missed."""
        codes = {diagnostic.code for diagnostic in self._kept}
        if not codes.isdisjoint(_UNREAD):
            self.ignored = FOLLOWING
        if "E0105" in codes:
            self.ignored |= WITHOUT_ADDRESS

    def __iter__(self) -> Iterator[Diagnostic]:
        """In the order of the text."""
        return iter(sorted(self._kept, key=lambda d: (d.range.path, d.range.line, d.range.column, d.code)))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def failed(self) -> bool:
        """Whether any is an error."""
        return any(d.severity is Severity.ERROR for d in self._kept)
