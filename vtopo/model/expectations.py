"""Pass 8: resolves `expect` and `scenario` statements to nodes, addresses and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model import names
from vtopo.model.attributes import Attributes
from vtopo.model.draft import EndDraft, NodeDraft
from vtopo.model.expressions import Evaluator, Unknown
from vtopo.model.lab import Claim, Expectation, Fault, IPAddress, Measure, Output, Reach, Scenario, Way
from vtopo.model.properties import read
from vtopo.model.schema import Place, Slot, Type
from vtopo.model.scope import Variables
from vtopo.model.values import Fault as Wrong
from vtopo.model.values import Read, Reported, read_value

SECONDS = 5.0
"""How long an expectation is tried unless it says `within`."""
SECONDS_NEGATED = 2.0
"""How long a `not` must fail throughout."""

MOST_EXPECTATIONS = 100_000
"""A lab of more pairs than this is refused: all of a thousand hosts to each other are a million."""

_WITHIN = Slot("within", (Type.TIME,), least=1, most=86_400_000_000)
_TCP = Slot("tcp", (Type.INTEGER,), least=1, most=65535)
_COMMAND = Slot("runs", (Type.COMMAND,))
_PRINTS = Slot("prints", (Type.TEXT,))
_BOUNDS = {
    "rate": Slot("rate", (Type.RATE,), least=0),
    "delay": Slot("delay", (Type.TIME,), least=0),
    "loss": Slot("loss", (Type.SHARE,), least=0, most=1_000_000),
}
_COMPARISONS = ("<=", ">=", "<", ">")


class ExpectPass:
    """Walks the expect and scenario statements of every block."""

    def __init__(self, scope: names.Scope, attributes: Attributes, diagnostics: Diagnostics) -> None:
        self._scope = scope
        self._attributes = attributes
        self._diagnostics = diagnostics
        self.found: list[Expectation] = []
        self.scenarios: list[Scenario] = []
        self._named: dict[tuple[NodeDraft | None, str], Range] = {}
        """The scenarios of each block by their names, and where they stand."""

    def resolve(self, statements: Sequence[ast.Statement], inside: NodeDraft | None) -> None:
        """Resolve the expectations of a block that stands in the node `inside`."""
        for statement in statements:
            if isinstance(statement, ast.ExpectStatement):
                self.found += self._expect(statement, inside)
            elif isinstance(statement, ast.ScenarioStatement):
                self._scenario(statement, inside)

    def _expect(self, statement: ast.ExpectStatement, inside: NodeDraft | None) -> list[Expectation]:
        self._diagnostics.via = statement.via
        seconds = SECONDS_NEGATED if statement.negated else SECONDS
        try:
            if statement.within is not None:
                within = self._read("within", _WITHIN, statement.within, inside)
                assert isinstance(within, int)
                seconds = within / 1e6
            subjects = self._subjects(statement, inside)
            claims = list(self._claims(statement, subjects, inside))
        except (Unknown, Reported):
            return []
        except Wrong as wrong:
            self._diagnostics.add(wrong.code, wrong.message, wrong.range, wrong.label, help=wrong.help)
            return []
        return [Expectation(claim, statement.negated, seconds, statement.range) for claim in claims]

    def _read(self, name: str, slot: Slot, value: ast.Expression, inside: NodeDraft | None) -> Read:
        if isinstance(value, ast.Late):
            evaluator = Evaluator(self._diagnostics, lambda r: self._attributes.value(r, inside))
            assert isinstance(value.scope, Variables)
            value = evaluator.value(value.expression, value.scope)
        return read_value(name, slot, value)[0]

    def _subjects(self, statement: ast.ExpectStatement, inside: NodeDraft | None) -> list[NodeDraft]:
        written = statement.claim.subject
        subjects = self._scope.find(written, inside)
        if subjects is None:
            raise Unknown
        for subject in subjects:
            if subject.is_bridge or subject.is_module:
                self._diagnostics.add(
                    "E0306", f"`{subject.name}` is a {subject.kind}", written.range, "only a host can send"
                )
                raise Unknown
        return subjects

    def _claims(
        self, statement: ast.ExpectStatement, subjects: list[NodeDraft], inside: NodeDraft | None
    ) -> Iterator[Claim]:
        match statement.claim:
            case ast.Runs(command=command, prints=prints):
                told = self._read("runs", _COMMAND, command, inside)
                text = self._read("prints", _PRINTS, prints, inside) if prints is not None else None
                assert isinstance(told, str | tuple)
                for each in subjects:
                    yield Output(each.name, _command(told), text if isinstance(text, str) else None)
            case ast.Reaches() as claim:
                tcp = self._read("tcp", _TCP, claim.tcp, inside) if claim.tcp is not None else None
                for subject, target, address in self._pairs(
                    statement, claim.target, claim.port, subjects, inside
                ):
                    yield Reach(subject, target, address, tcp if isinstance(tcp, int) else None)
            case ast.Measured() as measured:
                bound = self._bound(measured, inside)
                for subject, target, address in self._pairs(
                    statement, measured.target, None, subjects, inside
                ):
                    yield Measure(
                        measured.quantity.text, subject, target, address, measured.comparison, bound
                    )
            case ast.PathTaken() as path:
                through = [node.name for name in path.through for node in self._nodes(name, inside)]
                for subject, target, address in self._pairs(statement, path.target, None, subjects, inside):
                    yield Way(subject, target, address, tuple(through))

    def _bound(self, measured: ast.Measured, inside: NodeDraft | None) -> int:
        if measured.comparison not in _COMPARISONS:
            self._diagnostics.add(
                "E0203",
                "a measured value is never exactly another",
                measured.bound.range,
                f"`{measured.comparison}` does not go here",
                help="write `<=` or `>=`",
            )
            raise Unknown
        quantity = measured.quantity.text
        bound = self._read(quantity, _BOUNDS[quantity], measured.bound, inside)
        assert isinstance(bound, int)
        return bound

    def _nodes(self, reference: ast.Reference, inside: NodeDraft | None) -> list[NodeDraft]:
        found = self._scope.find(reference, inside)
        if found is None:
            raise Unknown
        return found

    # Targets

    def _pairs(
        self,
        statement: ast.ExpectStatement,
        target: ast.Expression,
        port: ast.Word | ast.String | None,
        subjects: list[NodeDraft],
        inside: NodeDraft | None,
    ) -> Iterator[tuple[str, str, IPAddress]]:
        """Each subject with each target's name and address."""
        if isinstance(target, ast.Reference) and self._is_attribute(target, inside):
            target = self._attributes.value(target, inside)
        if not isinstance(target, ast.Reference):
            address = self._plain(target, port)
            for subject in subjects:
                yield subject.name, str(address), address
            return
        targets = self._nodes(target, inside)
        self._check(statement, subjects, targets)
        for subject in subjects:
            for node in targets:
                if node is not subject:
                    address_ = self._address(target.range, port, subject, node)
                    label = node.name if port is None else f"{node.name}:{_text(port)}"
                    yield subject.name, label, address_

    def _is_attribute(self, target: ast.Reference, inside: NodeDraft | None) -> bool:
        """Whether a dotted name goes past a node, to an address of its."""
        parts = [part.name.text for part in target.parts]
        if len(parts) == 1 or any(part.indices for part in target.parts):
            return False
        return self._scope.single(parts, inside) is None and any(
            self._scope.single(parts[:n], inside) is not None for n in range(1, len(parts))
        )

    def _plain(self, target: ast.Expression, port: ast.Word | ast.String | None) -> IPAddress:
        if not isinstance(target, ast.Address):
            self._diagnostics.add(
                "E0203", "this is no address to reach", target.range, "a node or an address"
            )
            raise Unknown
        if target.value is None:
            raise Unknown
        if port is not None or target.has_length:
            self._diagnostics.add(
                "E0203", "an address is reached as it is", target.range, f"write {target.value.ip}"
            )
            raise Unknown
        return target.value.ip

    def _check(
        self, statement: ast.ExpectStatement, subjects: list[NodeDraft], targets: list[NodeDraft]
    ) -> None:
        if len(self.found) + len(subjects) * len(targets) > MOST_EXPECTATIONS:
            self._diagnostics.add(
                "E0309",
                "this lab has too many expectations",
                statement.range,
                f"more than {MOST_EXPECTATIONS} pairs",
            )
            raise Unknown
        if len(subjects) == 1 and targets == subjects:
            self._diagnostics.add(
                "E0208", "a host always reaches itself", statement.range, "nothing to expect"
            )
            raise Unknown

    def _address(
        self, place: Range, port: ast.Word | ast.String | None, subject: NodeDraft, target: NodeDraft
    ) -> IPAddress:
        """The target's address: of the named interface, else one on a subnet that both are on, else its first."""
        ends: list[EndDraft] = target.ends
        if port is not None:
            ends = [e for e in ends if e.name == _text(port)]
            if not ends:
                self._diagnostics.add(
                    "E0303",
                    f"`{target.name}` has no interface `{_text(port)}`",
                    port.range,
                    "no link makes it",
                    help=did_you_mean(_text(port), [e.name for e in target.ends]),
                )
                raise Unknown
        addresses = [a for e in ends for a in e.addresses]
        if target.is_bridge:
            addresses = [s.value for s in target.settings.interfaces("address")]
        if not addresses:
            self._diagnostics.add(
                "E0407", f"`{target.name}` has no address to reach", place, "an address is needed"
            )
            raise Unknown
        near = {a.network for e in subject.ends for a in e.addresses}
        addresses.sort(key=lambda a: (a.network not in near, a.version))
        return addresses[0].ip

    # Scenarios

    def _scenario(self, statement: ast.ScenarioStatement, inside: NodeDraft | None) -> None:
        self._name(statement, inside)
        if not statement.block.statements:
            self._diagnostics.add(
                "W0609", "this scenario does nothing", statement.range, "neither `do` nor `expect`"
            )
        steps: list[Fault | Expectation] = []
        for inner in statement.block.statements:
            if isinstance(inner, ast.ExpectStatement):
                steps += self._expect(inner, inside)
            elif isinstance(inner, ast.Property):
                steps += self._fault(inner, inside)
            else:
                self._diagnostics.add(
                    "E0208", "a scenario holds `do` and `expect` only", inner.range, "not here"
                )
        self.scenarios.append(Scenario(statement.name.text, tuple(steps), statement.range))

    def _name(self, statement: ast.ScenarioStatement, inside: NodeDraft | None) -> None:
        name, key = statement.name, (inside, statement.name.text)
        self._diagnostics.via = statement.via
        if (earlier := self._named.get(key)) is None:
            self._named[key] = name.range
        else:
            self._diagnostics.add(
                "E0301",
                f"two scenarios are called `{name.text}`",
                name.range,
                "called so again here",
                others=[Label(earlier, "first here")] if earlier != name.range else [],
            )

    def _fault(self, statement: ast.Property, inside: NodeDraft | None) -> list[Fault]:
        settings = read([statement], [Place.SCENARIO], self._diagnostics, statement.range)
        found: list[Fault] = []
        for setting in settings.many("do"):
            slots = [setting.slots[name] for name in ("node", "left", "right") if name in setting.slots]
            nodes = [self._scope.find(slot, inside) for slot in slots if isinstance(slot, ast.Reference)]
            action = str(setting.slots["action"])
            if any(node is None for node in nodes):
                continue
            if len(nodes) == 1:
                found += [Fault((node.name,), action, statement.range) for node in nodes[0] or ()]
            else:
                found += self._link_faults(nodes[0] or [], nodes[1] or [], action, statement.range)
        return found

    def _link_faults(
        self, left: list[NodeDraft], right: list[NodeDraft], action: str, place: Range
    ) -> Iterator[Fault]:
        for a in left:
            for b in right:
                if not any(end.peer is not None and end.peer.node is b for end in a.ends) and not (
                    a.is_bridge or b.is_bridge
                ):
                    self._diagnostics.add("E0302", f"no link joins `{a.name}` and `{b.name}`", place)
                    return
                yield Fault((a.name, b.name), action, place)


def _text(port: ast.Word | ast.String) -> str:
    return port.text


def _command(told: Read) -> str | tuple[str, ...]:
    assert isinstance(told, str | tuple)
    return told if isinstance(told, str) else tuple(map(str, told))
