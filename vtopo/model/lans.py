"""Pass 5b: finds who hears whose broadcasts, VLAN by VLAN: the segments that addresses are handed out in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft, OverlayDraft, Segment
from vtopo.model.ports import PortPass
from vtopo.model.sets import Sets

_Key: TypeAlias = "tuple[NodeDraft | LinkDraft | EndDraft, int]"
"""A VLAN of a bridge, a tag on a link without bridges, or what hears nobody."""


def find_lans(draft: Draft, ports: PortPass) -> None:
    """Fill in the draft's LANs, and of each interface the one that it is in."""
    if not ports.aware and not any(end.peer is None for node in draft.nodes.values() for end in node.ends):
        draft.lans = draft.segments
        return
    _Lans(draft, ports).find()


class _Lans:
    def __init__(self, draft: Draft, ports: PortPass) -> None:
        self._draft = draft
        self._ports = ports
        self._tags = ports.tags()
        self._joined = Sets[_Key]()
        self._lans: dict[_Key, Segment] = {}
        self._links = {end: link for link in draft.links for end in link.ends}

    def find(self) -> None:
        self._join()
        for bridge in self._draft.nodes.values():
            if bridge.is_bridge:
                for vlan in sorted(self._tags - {0}) if bridge in self._ports.aware else (0,):
                    self._lan((bridge, vlan)).bridges.append(bridge)
                    self._lan((bridge, vlan)).vlans[bridge] = vlan
        for link in self._draft.links:
            for end in link.ends:
                if not end.node.is_bridge:
                    end.lan = self._lan(self._key(end, 0))
                    if link not in end.lan.links[-1:]:
                        end.lan.links.append(link)
            if len(link.bridges) == 2:
                self._lan(self._trunk(link)).links.append(link)
        for overlay in self._draft.overlays:
            for lan in self._of(overlay):
                if overlay not in lan.overlays:
                    lan.overlays.append(overlay)
        for node in self._draft.nodes.values():
            for end in node.ends:
                if end.peer is None and (key := self._own(end)) is not None:
                    end.lan = self._lan(key)
                    end.lan.own.append(end)
        self._draft.lans = [
            lan for lan in self._lans.values() if lan.links or lan.own or lan.overlays or lan.bridges
        ]

    def _lan(self, key: _Key) -> Segment:
        return self._lans.setdefault(self._joined.root(key), Segment())

    def _of(self, overlay: OverlayDraft) -> Iterator[Segment]:
        """The LANs that an overlay is part of."""
        for vtep in overlay.vteps[:1]:
            for tag in sorted(self._tags) if vtep.bridge in self._ports.aware else (0,):
                if (vlan := self._ports.vlan_of(overlay, vtep.bridge, tag)) is not None:
                    yield self._lan((vtep.bridge, vlan))

    def _join(self) -> None:
        for link in self._draft.links:
            if len(link.bridges) == 2:
                for tag in self._tags:
                    a, b = (self._ports.vlan_at(link, end, tag) for end in link.ends)
                    if a is not None and b is not None:
                        self._joined.join((link.left.node, a), (link.right.node, b))
        for overlay in self._draft.overlays:
            for tag in self._tags:
                inside = [(v.bridge, self._ports.vlan_of(overlay, v.bridge, tag)) for v in overlay.vteps]
                keys = [(bridge, vlan) for bridge, vlan in inside if vlan is not None]
                for key in keys[1:]:
                    self._joined.join(keys[0], key)

    def _key(self, end: EndDraft, tag: int) -> _Key:
        """Where frames go that a node sends by an end of a link, with a tag or without."""
        link = self._links[end]
        if not link.bridges:
            return link, tag
        port = end.peer
        assert port is not None
        vlan = self._ports.vlan_at(link, port, tag)
        return (port.node, vlan) if vlan is not None else (end, tag)

    def _trunk(self, link: LinkDraft) -> _Key:
        """One of the VLANs that a link between bridges carries: the untagged one, if any."""
        for tag in sorted(self._tags):
            if (vlan := self._ports.vlan_at(link, link.left, tag)) is not None:
                return link.left.node, vlan
        return link, 0

    def _own(self, end: EndDraft) -> _Key | None:
        """Where an interface of a node's own leads: by way of what it is made on."""
        tag = 0
        for _ in range(len(end.node.ends)):  # made on itself it is nowhere; that is reported elsewhere
            below, number = _below(end)
            if below is None:
                return None
            tag = number or tag
            nested = self._draft.nodes.get(f"{end.node.name}.{below}")
            if nested is not None and nested.is_bridge:
                return nested, tag
            found = next((e for e in end.node.ends if e.name == below), None)
            if found is None:
                return None
            if found.peer is not None:
                return self._key(found, tag)
            end = found
        return None


def _below(own: EndDraft) -> tuple[str | None, int]:
    """What an interface is made on, of a bond the first, and the tag that it adds."""
    for setting in own.settings.many("vlan"):
        assert isinstance(setting.value, int)
        return str(setting.slots["on"]), setting.value
    for setting in own.settings.many("bond"):
        if isinstance(setting.value, tuple) and setting.value:
            return str(setting.value[0]), 0
    return None, 0
