"""Pass 4: resolves the tunnel ends of every overlay to a host's interface and a bridge."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.suggest import did_you_mean
from vtopo.model import names
from vtopo.model.draft import Draft, EndDraft, NodeDraft, OverlayDraft, VtepDraft
from vtopo.model.interfaces import check_device_name
from vtopo.model.links import pair_up
from vtopo.model.nodes import properties
from vtopo.model.ports import carried
from vtopo.model.properties import read, with_article
from vtopo.model.schema import Place


class OverlayPass:
    """Walks the overlay statements of every block."""

    def __init__(self, draft: Draft, scope: names.Scope, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._scope = scope
        self._diagnostics = diagnostics
        self._by_name: dict[str, OverlayDraft] = {}

    def resolve(self, statements: Sequence[ast.Statement], inside: NodeDraft | None) -> None:
        """Resolve the overlays of a block that stands in the node `inside`."""
        for statement in statements:
            if isinstance(statement, ast.OverlayStatement):
                self._diagnostics.via = statement.via
                self._overlay(statement, inside)

    def _overlay(self, statement: ast.OverlayStatement, inside: NodeDraft | None) -> None:
        declared = statement.declared
        if any(names.is_ranged(index) for index in declared.indices):
            self._diagnostics.add("E0208", "an overlay is declared one by one", declared.range)
            return
        numbers = tuple(n for index in declared.indices for n in names.numbers(index))
        around = f"{inside.name}." if inside is not None else ""
        name = around + names.indexed(declared.name.text, numbers)
        settings = read(
            properties(statement.block), [Place.OVERLAY], self._diagnostics, statement.declared.range
        )
        overlay = OverlayDraft(name, settings, [], statement.declared.range)
        if not self._declare(overlay):
            return
        for inner in statement.block.statements if statement.block is not None else ():
            if isinstance(inner, ast.VtepStatement):
                self._vtep(inner, overlay, inside)
            elif not isinstance(inner, ast.Property):
                self._diagnostics.add(
                    "E0208", "an overlay holds properties and `vtep` statements", inner.range, "not here"
                )
        self._draft.overlays.append(overlay)

    def _declare(self, overlay: OverlayDraft) -> bool:
        earlier = self._by_name.setdefault(overlay.name, overlay)
        first = earlier.range if earlier is not overlay else None
        node = self._draft.nodes.get(overlay.name)
        if first is None and node is not None:
            first = node.range
        if first is None:
            return True
        self._diagnostics.add(
            "E0301",
            f"`{overlay.name}` is declared twice",
            overlay.range,
            "declared again here",
            others=[Label(first, "first declared here")],
        )
        return False

    def _vtep(self, statement: ast.VtepStatement, overlay: OverlayDraft, inside: NodeDraft | None) -> None:
        bridges = self._scope.find(statement.bridge, inside)
        if statement.node is None:
            for bridge in bridges or ():
                vtep = self._at_machine(statement, bridge)
                if vtep is not None and self._once(vtep, overlay):
                    overlay.vteps.append(vtep)
            return
        hosts = self._scope.find(statement.node, inside)
        if hosts is None or bridges is None:
            return
        pairs = pair_up(hosts, _ranged(statement.node), bridges, _ranged(statement.bridge))
        if pairs is None:
            self._diagnostics.add(
                "E0307",
                "the two sides of this tunnel end are of different lengths",
                statement.bridge.range,
                f"{len(bridges)} bridges",
                others=[Label(statement.node.range, f"{len(hosts)} hosts")],
            )
            return
        for host, bridge in pairs:
            vtep = self._pair(statement, statement.node, host, bridge)
            if vtep is not None and self._once(vtep, overlay):
                overlay.vteps.append(vtep)

    def _at_machine(self, statement: ast.VtepStatement, bridge: NodeDraft) -> VtepDraft | None:
        """A tunnel end at an interface of the machine's own, which is not looked at here."""
        port = statement.port
        assert isinstance(port, ast.Word)
        valid = check_device_name(port.text, port.range, self._diagnostics)
        address = None
        for value in statement.addresses:
            if not isinstance(value, ast.Address) or value.has_length or address is not None:
                self._diagnostics.add(
                    "E0203",
                    "a tunnel end sends from one address",
                    value.range,
                    "expected one, without a length",
                )
                return None
            assert value.value is not None
            address = value.value.ip
        if not valid or not self._extends(statement, bridge):
            return None
        return VtepDraft(None, bridge, statement.range, address, port.text)

    def _extends(self, statement: ast.VtepStatement, bridge: NodeDraft) -> bool:
        if bridge.kind == "bridge":
            return True
        self._diagnostics.add(
            "E0306",
            f"`{bridge.name}` is {with_article(bridge.kind)}",
            statement.bridge.range,
            "a tunnel end extends a bridge",
        )
        return False

    def _pair(
        self, statement: ast.VtepStatement, written: ast.Reference, host: NodeDraft, bridge: NodeDraft
    ) -> VtepDraft | None:
        if host.kind != "host":
            self._diagnostics.add(
                "E0306",
                f"`{host.name}` is {with_article(host.kind)}",
                written.range,
                "a tunnel ends at a host's interface",
            )
            return None
        if not self._extends(statement, bridge):
            return None
        if bridge.host is not host:
            self._diagnostics.add(
                "E0306",
                f"the bridge `{bridge.name}` does not live behind `{host.name}`",
                statement.bridge.range,
                "not in the tunnel end's namespace",
                others=[Label(bridge.range, "declared here")],
                help=f"declare the bridge in the block of `host {host.name}`",
            )
            return None
        end = self._interface(statement, host)
        return VtepDraft(end, bridge, statement.range) if end is not None else None

    def _interface(self, statement: ast.VtepStatement, host: NodeDraft) -> EndDraft | None:
        wanted = statement.port.text
        for end in host.ends:
            if end.name == wanted:
                return end
        have = [end.name for end in host.ends]
        self._diagnostics.add(
            "E0303",
            f"`{host.name}` has no interface `{wanted}`",
            statement.port.range,
            "no link makes it",
            help=did_you_mean(wanted, have, f"it has {', '.join(have)}" if have else "link it first"),
        )
        return None

    def _once(self, vtep: VtepDraft, overlay: OverlayDraft) -> bool:
        for other in overlay.vteps:
            if other.place is vtep.place:
                self._diagnostics.add(
                    "E0504",
                    f"{_named(vtep)} has two ends of one tunnel",
                    vtep.range,
                    "a second one of the same VNI",
                    others=[Label(other.range, "the first")],
                    help="one tunnel end a host; link the bridges behind it instead",
                )
                return False
        for earlier in self._draft.overlays:
            shared = [other for other in earlier.vteps if other.bridge is vtep.bridge]
            if shared and not _are_apart(overlay, earlier):
                self._diagnostics.add(
                    "E0505",
                    f"`{vtep.bridge.name}` is in two overlays",
                    vtep.range,
                    "extended again here",
                    others=[Label(other.range, "first here") for other in shared],
                    help="joined they are one broadcast domain: use one VNI, or a `vlan` of its own for each",
                )
                return False
            self._vni_clash(vtep, overlay, earlier)
        return True

    def _vni_clash(self, vtep: VtepDraft, overlay: OverlayDraft, earlier: OverlayDraft) -> None:
        mine, theirs = overlay.settings.one("vni", int), earlier.settings.one("vni", int)
        if mine is None or theirs is None or mine.value != theirs.value:
            return
        for other in earlier.vteps:
            if other.place is vtep.place:
                self._diagnostics.add(
                    "E0504",
                    f"VNI {mine.value} has two overlays at {_named(vtep)}",
                    mine.range,
                    f"overlay `{overlay.name}`",
                    others=[Label(theirs.range, f"overlay `{earlier.name}`")],
                )


def _are_apart(one: OverlayDraft, other: OverlayDraft) -> bool:
    """Whether two overlays that extend one bridge carry VLANs of it, and none that is the other's."""
    vlans = [set(carried(overlay.settings)) for overlay in (one, other)]
    return all(vlans) and vlans[0].isdisjoint(vlans[1])


def _named(vtep: VtepDraft) -> str:
    return f"`{vtep.place.name}`" if vtep.place is not None else "the machine"


def _ranged(reference: ast.Reference) -> bool:
    return any(names.is_ranged(i) for part in reference.parts for i in part.indices)
