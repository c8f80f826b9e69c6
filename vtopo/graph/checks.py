"""Whole-graph checks: what no statement shows by itself."""

from __future__ import annotations

from collections.abc import Callable

from vtopo.graph.topology import SWITCHES, Topology, topology
from vtopo.graph.underlay import tunnels_lead_there
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.lab import Lab


def no_ring_of_bridges(graph: Topology, diagnostics: Diagnostics) -> None:
    """Bridges in a ring without a spanning tree carry the first broadcast round and round for ever."""
    import networkx

    switches = graph.subgraph(n for n, kind in graph.nodes(data="kind") if kind in SWITCHES)
    for base in networkx.connected_components(switches):
        part = switches.subgraph(base)
        if part.number_of_edges() < part.number_of_nodes():
            continue
        ring = networkx.find_cycle(part)
        names = [edge[0].removeprefix("overlay:") for edge in ring]
        ranges = [part.edges[edge]["range"] for edge in ring]
        ranges.sort(key=lambda r: (r.line, r.column))
        diagnostics.add(
            "W0601",
            f"bridges joined in a ring: {', '.join(f'`{n}`' for n in sorted(names))}",
            ranges[-1],
            "this closes the ring",
            others=[Label(r, "") for r in dict.fromkeys(ranges[:-1]) if r != ranges[-1]],
            help="the first broadcast frame goes round for ever; leave one link out",
        )


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
