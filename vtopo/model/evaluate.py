"""Tree to lab: the passes of this stage in their order, and the frozen lab that they end in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from vtopo.lang import ast, labname
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.lang.syntax_errors import STATEMENT_WORDS
from vtopo.model import lab as model
from vtopo.model.addressing import AddressPass
from vtopo.model.draft import Draft, EndDraft, NodeDraft, OverlayDraft
from vtopo.model.expand import expand
from vtopo.model.expectations import ExpectPass
from vtopo.model.interfaces import name_interfaces
from vtopo.model.links import LinkPass
from vtopo.model.mtu import MtuPass
from vtopo.model.names import Scope
from vtopo.model.nodes import NodePass, properties
from vtopo.model.overlays import OverlayPass
from vtopo.model.properties import RouteValue, Settings, read, with_article
from vtopo.model.schema import DEFAULT_VXLAN_PORT, SCHEMA, Place
from vtopo.model.segments import find_segments
from vtopo.model.tunnels import address_tunnels


def evaluate(file: ast.File, settings: Mapping[str, str], diagnostics: Diagnostics) -> model.Lab:
    """The lab that `file` describes with these values of its params; whole only if no error was reported."""
    file = expand(file, settings, diagnostics)
    draft = _lab(file, diagnostics)
    nodes = NodePass(draft, diagnostics)
    nodes.declare(_without_properties(file, diagnostics))
    scope = Scope(draft.nodes, nodes.families, diagnostics)
    links = LinkPass(draft, scope, diagnostics)
    for inside, statements in nodes.scopes:
        links.connect(statements, inside)
    name_interfaces(draft, diagnostics)
    overlays = OverlayPass(draft, scope, diagnostics)
    for inside, statements in nodes.scopes:
        overlays.resolve(statements, inside)
    find_segments(draft)
    AddressPass(draft, diagnostics).number()
    address_tunnels(draft, diagnostics)
    mtus = MtuPass(draft, diagnostics)
    mtus.decide()
    expects = ExpectPass(scope, diagnostics)
    for inside, statements in nodes.scopes:
        expects.resolve(statements, inside)
    return _freeze(draft, mtus.of_bridge, tuple(expects.found), diagnostics)


def _lab(file: ast.File, diagnostics: Diagnostics) -> Draft:
    """The draft with the lab's name and settings; the file's stem names it where no statement does."""
    first: ast.LabStatement | None = None
    for statement in file.statements:
        if not isinstance(statement, ast.LabStatement):
            continue
        if first is None:
            first = statement
        else:
            others = [Label(first.name.range, "the first")]
            diagnostics.add(
                "E0209", "a file has one `lab` statement", statement.range, "a second", others=others
            )
    if first is None:
        return Draft(labname.from_path(file.path), Settings())
    for inner in first.block.statements if first.block is not None else ():
        if not isinstance(inner, ast.Property):
            diagnostics.add("E0208", "the lab's block holds settings only", inner.range, "not here")
    settings = read(properties(first.block), [Place.LAB], diagnostics, first.range)
    if len(first.name.text) > LONGEST_LAB:
        diagnostics.add(
            "E0304", "the lab's name is too long", first.name.range, f"at most {LONGEST_LAB} bytes"
        )
    return Draft(first.name.text, settings)


LONGEST_LAB = 63
"""Bytes of a lab's name: with a host's it must fit a file name (NAME_MAX, 255)."""


def _without_properties(file: ast.File, diagnostics: Diagnostics) -> list[ast.Statement]:
    """The file's statements; those of other blocks' are reported here."""
    kept: list[ast.Statement] = []
    for statement in file.statements:
        if isinstance(statement, ast.Property):
            _not_at_top(statement, diagnostics)
        elif isinstance(statement, ast.VtepStatement):
            diagnostics.add("E0208", "`vtep` stands in an overlay's block", statement.range, "not here")
        else:
            kept.append(statement)
    return kept


def _not_at_top(statement: ast.Property, diagnostics: Diagnostics) -> None:
    key = statement.key
    homes = [place.value for place, names in SCHEMA.items() if key.text in names]
    if homes:
        diagnostics.add(
            "E0208",
            f"`{key.text}` belongs in a block",
            key.range,
            f"of {' or '.join(map(with_article, homes))}",
        )
        return
    help = did_you_mean(key.text, STATEMENT_WORDS, f"a statement begins with {', '.join(STATEMENT_WORDS)}")
    diagnostics.add("E0202", f"`{key.text}` begins no statement", key.range, help=help)


def mac_of(lab: str, endpoint: str) -> str:
    """The hardware address of an endpoint: 02 and 40 bits of a hash of the lab's and the endpoint's full names."""
    digest = hashlib.sha256(f"{lab}\0{endpoint}".encode()).digest()
    return "02:" + ":".join(f"{byte:02x}" for byte in digest[:5])


def _freeze(
    draft: Draft,
    bridge_mtus: dict[str, int],
    expectations: tuple[model.Expectation, ...],
    diagnostics: Diagnostics,
) -> model.Lab:
    hosts: list[model.Host] = []
    bridges: list[model.Bridge] = []
    for node in draft.nodes.values():
        parent = node.parent.name if node.parent is not None else None
        if node.is_bridge:
            addresses = tuple(s.value for s in node.settings.interfaces("address"))
            bridges.append(model.Bridge(node.name, parent, addresses, bridge_mtus[node.name], node.range))
        else:
            forward = node.settings.one("forward", bool)
            routes = _routes(node, diagnostics)
            hosts.append(
                model.Host(node.name, parent, forward is not None and forward.value, routes, node.range)
            )
    links = tuple(
        model.Link(_interface(draft, link.left), _interface(draft, link.right), link.range)
        for link in draft.links
    )
    overlays = tuple(_overlay(overlay) for overlay in draft.overlays)
    return model.Lab(draft.name, tuple(hosts), tuple(bridges), links, overlays, expectations)


def _interface(draft: Draft, end: EndDraft) -> model.Interface:
    mac = end.settings.one("mac", str)
    return model.Interface(
        end.node.name,
        end.name,
        tuple(end.addresses),
        mac.value if mac is not None else mac_of(draft.name, end.full_name),
        end.mtu,
        end.range,
    )


def _routes(node: NodeDraft, diagnostics: Diagnostics) -> tuple[model.Route, ...]:
    routes: list[model.Route] = []
    seen: dict[model.IPNetwork, Range] = {}
    for setting in node.settings.many("route"):
        assert isinstance(setting.value, RouteValue)
        route = setting.value
        if route.destination in seen:
            diagnostics.add(
                "E0205",
                f"two routes to {route.destination}",
                setting.range,
                "a second one",
                others=[Label(seen[route.destination], "the first")],
            )
            continue
        seen[route.destination] = setting.range
        end = _toward(node, route, setting.range, diagnostics)
        if end is not None:
            routes.append(model.Route(route.destination, route.via, end.name, setting.range))
    return tuple(routes)


def _toward(node: NodeDraft, route: RouteValue, place: Range, diagnostics: Diagnostics) -> EndDraft | None:
    """The interface on whose subnet the next hop is."""
    near: list[IPInterface] = [a for end in node.ends for a in end.addresses]
    if any(a.ip == route.via for a in near):
        diagnostics.add(
            "E0406", f"{route.via} is `{node.name}`'s own address", place, "a next hop is a neighbour's"
        )
        return None
    for end in node.ends:
        if any(route.via in a.network for a in end.addresses):
            return end
    subnets = ", ".join(str(a.network) for a in near)
    diagnostics.add(
        "E0406",
        f"no interface of `{node.name}` reaches {route.via}",
        place,
        "this next hop",
        others=[Label(node.range, f"it is on {subnets}" if subnets else "it has no addresses")],
    )
    return None


def _overlay(overlay: OverlayDraft) -> model.Overlay:
    vni, port = overlay.settings.one("vni", int), overlay.settings.one("port", int)
    vteps = tuple(
        model.Vtep(v.end.node.name, v.end.name, v.address, v.bridge.name, v.range)
        for v in overlay.vteps
        if v.address is not None
    )
    return model.Overlay(
        overlay.name,
        vni.value if vni is not None else 0,
        port.value if port is not None else DEFAULT_VXLAN_PORT,
        overlay.mtu,
        vteps,
        tuple(s.value for s in overlay.settings.addresses("remote")),
        overlay.range,
    )
