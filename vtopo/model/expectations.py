"""Pass 8: resolves `expect` statements to pairs of a host and an address."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.suggest import did_you_mean
from vtopo.model import names
from vtopo.model.draft import EndDraft, NodeDraft
from vtopo.model.lab import Expectation, IPAddress

SECONDS = 5.0
"""How long an expectation is tried unless it says `within`."""
SECONDS_NEGATED = 2.0
"""How long a `not` must fail throughout."""

MOST_EXPECTATIONS = 100_000
"""A lab of more pairs than this is refused: all of a thousand hosts to each other are a million."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


class ExpectPass:
    """Walks the expect statements of every block."""

    def __init__(self, scope: names.Scope, diagnostics: Diagnostics) -> None:
        self._scope = scope
        self._diagnostics = diagnostics
        self.found: list[Expectation] = []

    def resolve(self, statements: Sequence[ast.Statement], inside: NodeDraft | None) -> None:
        """Resolve the expectations of a block that stands in the node `inside`."""
        for statement in statements:
            if isinstance(statement, ast.ExpectStatement):
                self._expect(statement, inside)

    def _expect(self, statement: ast.ExpectStatement, inside: NodeDraft | None) -> None:
        if statement.verb.text != "reaches":
            self._diagnostics.add(
                "E0101",
                f"unexpected `{statement.verb.text}`",
                statement.verb.range,
                "expected `reaches`",
                help=did_you_mean(statement.verb.text, ("reaches",)),
            )
            return
        seconds = self._seconds(statement)
        subjects = self._scope.find(statement.subject, inside)
        if subjects is None or seconds is None:
            return
        for subject in subjects:
            if subject.is_bridge:
                self._diagnostics.add(
                    "E0306", f"`{subject.name}` is a bridge", statement.subject.range, "only a host can send"
                )
                return
        if self._too_many(statement, len(subjects), inside):
            return
        if isinstance(statement.target, ast.Reference) and self._itself(statement, subjects, inside):
            return
        for subject in subjects:
            for target, address in self._targets(statement, subject, inside):
                self.found.append(
                    Expectation(subject.name, target, address, statement.negated, seconds, statement.range)
                )

    def _too_many(self, statement: ast.ExpectStatement, subjects: int, inside: NodeDraft | None) -> bool:
        targets = (
            self._scope.find(statement.target, inside)
            if isinstance(statement.target, ast.Reference)
            else None
        )
        if len(self.found) + subjects * len(targets or ()) <= MOST_EXPECTATIONS:
            return False
        self._diagnostics.add(
            "E0309",
            "this lab has too many expectations",
            statement.range,
            f"more than {MOST_EXPECTATIONS} pairs",
        )
        return True

    def _itself(
        self, statement: ast.ExpectStatement, subjects: Sequence[NodeDraft], inside: NodeDraft | None
    ) -> bool:
        """Whether the one host that sends is all there is to reach, which says nothing."""
        assert isinstance(statement.target, ast.Reference)
        targets = self._scope.find(statement.target, inside)
        alone = len(subjects) == 1 and targets is not None and targets == list(subjects)
        if alone:
            self._diagnostics.add(
                "E0208", "a host always reaches itself", statement.range, "nothing to expect"
            )
        return alone

    def _seconds(self, statement: ast.ExpectStatement) -> float | None:
        seconds = SECONDS_NEGATED if statement.negated else SECONDS
        for clause in statement.clauses:
            if clause.key.text != "within":
                self._diagnostics.add(
                    "E0101", f"unexpected `{clause.key.text}`", clause.key.range, "expected `within`"
                )
                return None
            if not isinstance(clause.value, ast.Quantity) or clause.value.unit not in _UNITS:
                number = clause.value.value if isinstance(clause.value, ast.Integer) else 10
                self._diagnostics.add(
                    "E0204",
                    "`within` needs a time",
                    clause.value.range,
                    "a time, such as 500ms or 10s",
                    help=f"did you mean {number}s?",
                )
                return None
            seconds = float(clause.value.number) * _UNITS[clause.value.unit]
        return seconds

    def _targets(
        self, statement: ast.ExpectStatement, subject: NodeDraft, inside: NodeDraft | None
    ) -> list[tuple[str, IPAddress]]:
        if isinstance(statement.target, ast.Address):
            value = statement.target.value
            return [(statement.target.text, value.ip)] if value is not None else []
        targets = self._scope.find(statement.target, inside)
        found: list[tuple[str, IPAddress]] = []
        for target in targets or ():
            if target is subject:
                continue
            address = self._address(statement, subject, target)
            if address is not None:
                label = target.name if statement.port is None else f"{target.name}:{statement.port.text}"
                found.append((label, address))
        return found

    def _address(
        self, statement: ast.ExpectStatement, subject: NodeDraft, target: NodeDraft
    ) -> IPAddress | None:
        """The target's address: of the named interface, else one on a subnet that both are on, else its first."""
        ends: list[EndDraft] = target.ends
        if statement.port is not None:
            ends = [e for e in ends if e.name == statement.port.text]
            if not ends:
                self._diagnostics.add(
                    "E0303",
                    f"`{target.name}` has no interface `{statement.port.text}`",
                    statement.port.range,
                    "no link makes it",
                    help=did_you_mean(statement.port.text, [e.name for e in target.ends]),
                )
                return None
        addresses = [a for e in ends for a in e.addresses]
        if target.is_bridge:
            addresses = [s.value for s in target.settings.interfaces("address")]
        if not addresses:
            self._diagnostics.add(
                "E0407",
                f"`{target.name}` has no address to reach",
                statement.target.range,
                "an address is needed",
            )
            return None
        near = {a.network for e in subject.ends for a in e.addresses}
        addresses.sort(key=lambda a: (a.network not in near, a.version))
        return addresses[0].ip
