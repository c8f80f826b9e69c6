"""The fewest links whose end parts two groups of nodes."""

from __future__ import annotations

from collections.abc import Sequence

_ONE, _OTHER = "\0one", "\0other"  # no names of nodes


def cut(
    links: Sequence[tuple[str, str, str]],
    inseparable: Sequence[tuple[str, str]],
    one: Sequence[str],
    other: Sequence[str],
) -> tuple[str, ...] | None:
    """The ids of links (id, node, node) to take down so that no path leads from `one` to `other`.

    None if what is `inseparable`, such as a host and the tunnel's bridge in it, joins them. Of several smallest cuts
    it is the one nearest to `other`.
    """
    import networkx as nx

    graph = nx.Graph()
    for _, a, b in links:
        if graph.has_edge(a, b):
            graph[a][b]["capacity"] += 1
        elif a != b:
            graph.add_edge(a, b, capacity=1)
    for a, b in (*inseparable, *((_ONE, n) for n in one), *((_OTHER, n) for n in other)):
        graph.add_edge(a, b)  # without a capacity: infinite
    try:
        _, (near, _) = nx.minimum_cut(graph, _ONE, _OTHER)
    except nx.NetworkXUnbounded:
        return None
    return tuple(id_ for id_, a, b in links if (a in near) != (b in near))
