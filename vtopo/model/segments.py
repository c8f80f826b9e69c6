"""Pass 5: finds the broadcast domains: what links and overlays join into one segment."""

from __future__ import annotations

from vtopo.model.draft import Draft, NodeDraft, Segment
from vtopo.model.sets import Sets


def find_segments(draft: Draft) -> None:
    """Fill in the draft's segments, in the order of the text."""
    joined: Sets[NodeDraft] = Sets()
    for link in draft.links:
        if len(link.bridges) == 2:
            joined.join(*link.bridges)
    for overlay in draft.overlays:
        for vtep in overlay.vteps[1:]:
            joined.join(overlay.vteps[0].bridge, vtep.bridge)
    of_bridge: dict[NodeDraft, Segment] = {}
    for node in draft.nodes.values():
        if node.is_bridge:
            segment = of_bridge.setdefault(joined.root(node), Segment())
            if not segment.bridges:
                draft.segments.append(segment)
            segment.bridges.append(node)
    for link in draft.links:
        if link.bridges:
            of_bridge[joined.root(link.bridges[0])].links.append(link)
        else:
            draft.segments.append(Segment(links=[link]))
    for overlay in draft.overlays:
        if overlay.vteps:
            of_bridge[joined.root(overlay.vteps[0].bridge)].overlays.append(overlay)
