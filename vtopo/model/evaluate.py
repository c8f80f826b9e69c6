"""Tree to lab: the passes of this stage in their order, and the frozen lab that they end in."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from vtopo.lang import ast, labname
from vtopo.lang.diagnostics import FOLLOWING, Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean, either
from vtopo.lang.syntax_errors import STATEMENT_WORDS
from vtopo.model import lab as model
from vtopo.model.addressing import AddressPass
from vtopo.model.attributes import Attributes
from vtopo.model.cloud_init import CloudInitPass
from vtopo.model.containers import ContainerPass
from vtopo.model.contents import Contents
from vtopo.model.devices import settle_devices
from vtopo.model.draft import Draft
from vtopo.model.expand import expand
from vtopo.model.expectations import ExpectPass
from vtopo.model.expressions import Evaluator
from vtopo.model.freeze import freeze
from vtopo.model.interfaces import name_interfaces
from vtopo.model.isolation import IsolationPass
from vtopo.model.lans import find_lans
from vtopo.model.late import LatePass
from vtopo.model.life import LifePass
from vtopo.model.links import LinkPass
from vtopo.model.modules import Modules
from vtopo.model.mtu import MtuPass
from vtopo.model.names import Scope
from vtopo.model.nodes import NodePass, properties
from vtopo.model.overlays import OverlayPass
from vtopo.model.pools import PoolPass, declare_pools
from vtopo.model.ports import PortPass
from vtopo.model.properties import Settings, read, with_article
from vtopo.model.schema import SCHEMA, Place
from vtopo.model.segments import find_segments
from vtopo.model.tunnels import address_tunnels
from vtopo.model.uplinks import Ports, UplinkPass
from vtopo.model.walk import families
from vtopo.model.warnings import warn


def evaluate(
    file: ast.File, settings: Mapping[str, str], modules: Modules, diagnostics: Diagnostics
) -> model.Lab:
    """The lab that `file` describes with these values of its params; whole only if no error was reported."""
    written = file
    file = expand(file, settings, modules, diagnostics)
    draft = _lab(file, diagnostics)
    _machines(file, draft, diagnostics)
    nodes = NodePass(draft, diagnostics)
    nodes.declare(_without_properties(file, diagnostics))
    scope = Scope(
        draft.nodes, nodes.families, diagnostics, functools.cache(lambda: families(written, *modules.files()))
    )
    for inside, statements in nodes.scopes:
        declare_pools(statements, inside, draft, diagnostics)
    links = LinkPass(draft, scope, diagnostics)
    for inside, statements in nodes.scopes:
        links.connect(statements, inside)
    name_interfaces(draft, diagnostics)
    settle_devices(draft, diagnostics)
    overlays = OverlayPass(draft, scope, diagnostics)
    for inside, statements in nodes.scopes:
        overlays.resolve(statements, inside)
    find_segments(draft)
    ports = PortPass(draft, diagnostics)
    find_lans(draft, ports)
    PoolPass(draft, diagnostics).hand_out()
    AddressPass(draft, ports, diagnostics).number()
    address_tunnels(draft, diagnostics)
    mtus = MtuPass(draft, diagnostics)
    mtus.decide()
    attributes = Attributes(draft, scope, Evaluator(diagnostics))
    LatePass(draft, attributes, diagnostics).read()
    expects = ExpectPass(scope, attributes, diagnostics)
    for inside, statements in nodes.scopes:
        expects.resolve(statements, inside)
    published: Ports = {}
    containers = ContainerPass(draft, scope, published, diagnostics).resolve()
    uplinks = UplinkPass(draft, scope, published, diagnostics).resolve()
    sharing = {c.node: c.network_of for c in containers if c.network_of is not None}
    contents = Contents(draft, modules, diagnostics)
    lives = LifePass(draft, scope, contents, diagnostics).resolve(sharing)
    seeds = CloudInitPass(draft, contents, diagnostics).resolve(lives)
    isolations = IsolationPass(draft, expects.found, diagnostics).resolve()
    ports.check()
    lab = freeze(
        draft,
        mtus.of_bridge,
        ports,
        expects,
        lives,
        containers,
        uplinks,
        isolations,
        seeds,
        scope,
        diagnostics,
    )
    if not diagnostics.failed:
        warn(draft, ports, diagnostics)
    diagnostics.via = None
    return lab


def _machines(file: ast.File, draft: Draft, diagnostics: Diagnostics) -> None:
    """The machines that nodes may be placed on; they have names of their own."""
    first: dict[str, Range] = {}
    for statement in file.statements:
        if not isinstance(statement, ast.MachineStatement):
            continue
        name = statement.name
        if name.text in first:
            others = [Label(first[name.text], "first declared here")]
            diagnostics.add(
                "E0301", f"`{name.text}` is declared twice", name.range, "declared again here", others=others
            )
            continue
        first[name.text] = name.range
        draft.machines[name.text] = read(
            properties(statement.block), [Place.MACHINE], diagnostics, name.range
        )


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
        elif isinstance(statement, ast.DirectionStatement):
            diagnostics.add("E0208", "a direction stands in a link's block", statement.range, "not here")
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
            f"of {either(map(with_article, homes))}",
        )
        return
    help = did_you_mean(key.text, STATEMENT_WORDS, f"a statement begins with {', '.join(STATEMENT_WORDS)}")
    diagnostics.ignored = FOLLOWING
    diagnostics.add("E0202", f"`{key.text}` begins no statement", key.range, help=help)
