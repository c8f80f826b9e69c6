"""Whole-graph checks: what no statement shows by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vtopo.graph.topology import SWITCHES, Topology, topology
from vtopo.graph.underlay import tunnels_lead_there
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.lab import Lab, Link

if TYPE_CHECKING:
    import networkx


def no_ring_of_bridges(graph: Topology, diagnostics: Diagnostics) -> None:
    """Bridges in a ring without a spanning tree carry the first broadcast round and round for ever.

    One of them that takes part in a spanning tree opens the ring: the others pass on what it says, and it hears itself.
    """
    import networkx

    wires = _wires(graph)
    for base in networkx.connected_components(wires):
        part = wires.subgraph(base)
        if part.number_of_edges() < part.number_of_nodes():
            continue
        ring = networkx.find_cycle(part)
        names = {edge[0][0].removeprefix("overlay:") for edge in ring}
        ranges = [part.edges[edge]["range"] for edge in ring]
        ranges.sort(key=lambda r: (r.line, r.column))
        diagnostics.add(
            "W0601",
            f"bridges joined in a ring: {', '.join(f'`{n}`' for n in sorted(names))}",
            ranges[-1],
            "this closes the ring",
            others=[Label(r, "") for r in dict.fromkeys(ranges[:-1]) if r != ranges[-1]],
            help="the first broadcast frame goes round for ever; leave one link out, or let them say `stp on`",
        )


def _wires(graph: Topology) -> networkx.MultiGraph[tuple[str, int]]:
    """The switches without a spanning tree, each once for every VLAN, joined by what carries that VLAN."""
    import networkx

    wires: networkx.MultiGraph[tuple[str, int]] = networkx.MultiGraph()
    switches = {
        name
        for name, data in graph.nodes(data=True)
        if data["kind"] in SWITCHES and not ("bridge" in data and data["bridge"].stp)
    }
    tags = _tags(graph)
    for a, b, key, data in graph.edges(keys=True, data=True):
        if a not in switches or b not in switches:
            continue
        for tag in tags:
            at_a, at_b = _vlan_at(graph, a, b, data, tag), _vlan_at(graph, b, a, data, tag)
            if at_a is not None and at_b is not None:
                wires.add_edge((a, at_a), (b, at_b), key=(key, tag), range=data["range"])
    return wires


def _tags(graph: Topology) -> frozenset[int]:
    """0 for frames without a tag, and a tag of each set of VLANs that some port treats alike."""
    ports = [
        p
        for _, _, d in graph.edges(data=True)
        if "link" in d
        for p in (d["link"].left.port, d["link"].right.port)
    ]
    trunks = {p.trunk for p in ports if p is not None and p.trunk}
    trunks |= {data["overlay"].trunk for _, data in graph.nodes(data=True) if "overlay" in data}
    alike: dict[tuple[bool, ...], int] = {}
    for tag in sorted(set().union(*trunks)):
        alike.setdefault(tuple(tag in trunk for trunk in trunks), tag)
    return frozenset((0, *alike.values()))


def _vlan_at(graph: Topology, name: str, other: str, data: Mapping[str, object], tag: int) -> int | None:
    """The VLAN of a switch that a frame with this tag is in when it comes by this edge; None if it does not pass."""
    bridge = graph.nodes[name].get("bridge")
    if bridge is None or not bridge.aware:
        return tag
    if "vtep" in data:
        carried = graph.nodes[other]["overlay"]
        vlan, trunk = carried.vlan, carried.trunk
    else:
        link = data["link"]
        assert isinstance(link, Link)
        port = next(end.port for end in (link.left, link.right) if end.node == name)
        vlan, trunk = (port.vlan, port.trunk) if port is not None else (0, ())
    if tag == 0:
        return vlan or None
    return tag if tag in trunk else None


CHECKS: tuple[Callable[[Topology, Diagnostics], None], ...] = (no_ring_of_bridges,)
"""The checks in their order."""


def check(lab: Lab, diagnostics: Diagnostics) -> None:
    """Run the checks that can find something in this lab; a lab without joined bridges builds no graph."""
    bridges = {b.name for b in lab.bridges}
    joined = any(link.left.node in bridges and link.right.node in bridges for link in lab.links)
    if lab.overlays:
        tunnels_lead_there(lab, diagnostics)
    if joined or lab.overlays:
        graph = topology(lab)
        for one in CHECKS:
            one(graph, diagnostics)
