"""Lab to graph: a networkx multigraph of nodes, links and overlays for questions about the whole.

Nodes are named by their full names, and overlays by `overlay:NAME`; a node's attribute `kind` is that of the
node (host, container, vm, bridge, uplink), or overlay; `bridge` or `overlay` is what it stands for. An edge's key is
unique, its attribute `link` or `vtep` what it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from vtopo.model.lab import Lab, Overlay

if TYPE_CHECKING:
    import networkx

Topology: TypeAlias = "networkx.MultiGraph[str]"


SWITCHES = frozenset({"bridge", "uplink", "overlay"})
"""The kinds of nodes that pass frames on."""


def overlay_node(overlay: Overlay) -> str:
    """The graph's name for an overlay."""
    return f"overlay:{overlay.name}"


def topology(lab: Lab) -> Topology:
    """The graph of `lab`. networkx is imported here, and only by those who ask: it takes 0.2 s."""
    import networkx

    graph: Topology = networkx.MultiGraph(name=lab.name)
    for host in lab.hosts:
        graph.add_node(host.name, kind=host.kind, parent=host.parent, range=host.range)
    for bridge in lab.bridges:
        graph.add_node(bridge.name, kind=bridge.kind, parent=bridge.parent, range=bridge.range, bridge=bridge)
    for link in lab.links:
        graph.add_edge(link.left.node, link.right.node, key=link.left.full_name, link=link, range=link.range)
    for overlay in lab.overlays:
        node = overlay_node(overlay)
        graph.add_node(node, kind="overlay", parent=None, range=overlay.range, overlay=overlay)
        for vtep in overlay.vteps:
            graph.add_edge(
                node, vtep.bridge, key=f"{vtep.host or ''}:{vtep.interface}", vtep=vtep, range=vtep.range
            )
    return graph
