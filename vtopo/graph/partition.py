"""The fewest links whose end parts two groups of nodes."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf

_ONE, _OTHER = "\0one", "\0other"  # no names of nodes


def cut(
    links: Sequence[tuple[str, str, str]],
    inseparable: Sequence[tuple[str, str]],
    one: Sequence[str],
    other: Sequence[str],
) -> tuple[str, ...] | None:
    """The ids of links (id, node, node) to take down so that no path leads from `one` to `other`.

    None if what is `inseparable`, such as a host and the tunnel's bridge in it, joins them. Of several smallest cuts
    it is the one nearest to `other`. By the largest flow (Edmonds and Karp): networkx takes longer to import than this.
    """
    room: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for _, a, b in links:
        if a != b:
            room[a][b] += 1
            room[b][a] += 1
    for a, b in (*inseparable, *((_ONE, n) for n in one), *((_OTHER, n) for n in other)):
        room[a][b] = room[b][a] = inf
    while _ONE in (following := _following(room)):
        path = [_ONE]
        while path[-1] != _OTHER:
            path.append(following[path[-1]])
        flow = min(room[a][b] for a, b in pairwise(path))
        if flow == inf:
            return None
        for a, b in pairwise(path):
            room[a][b] -= flow
            room[b][a] += flow
    return tuple(id_ for id_, a, b in links if (a in following) != (b in following))


def _following(room: Mapping[str, Mapping[str, float]]) -> Mapping[str, str]:
    """Of each node that a shortest way with room leads on from to the other group, the next node on it."""
    found = {_OTHER: _OTHER}
    pending = deque([_OTHER])
    while pending:
        there = pending.popleft()
        for near in room[there]:
            if near not in found and room[near][there] > 0:
                found[near] = there
                pending.append(near)
    return found
