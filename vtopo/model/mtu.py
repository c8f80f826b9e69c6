"""Pass 7: decides every MTU; an overlay's follows from the underlay's, and nothing in it may be larger."""

from __future__ import annotations

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft, OverlayDraft, Segment
from vtopo.model.interfaces import made_on
from vtopo.model.overhead import OVERHEAD
from vtopo.model.schema import DEFAULT_MTU

LOOPBACK_MTU = 65536

LEAST_IPV6 = 1280
"""Bytes that every link must carry for IPv6 (RFC 8200, 5)."""


class MtuPass:
    """Fills in the MTUs of ends and overlays; `of_bridge` has those of the bridges."""

    def __init__(self, draft: Draft, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._diagnostics = diagnostics
        given = draft.settings.one("mtu", int)
        self._default = given.value if given is not None else DEFAULT_MTU
        self._inner: dict[int, int] = {}
        self.of_bridge: dict[str, int] = {}

    def decide(self) -> None:
        """Run the pass."""
        self._settle()
        # A tunnel may run through another overlay, whose MTU must be known first: at most one more
        # overlay is settled a round, and one round more finds nothing to do.
        for _ in range(len(self._draft.overlays) + 1 if self._draft.overlays else 0):
            before = {id(o): o.mtu for o in self._draft.overlays}
            for segment in self._draft.segments:
                for overlay in segment.overlays:
                    overlay.mtu = self._overlay(overlay)
                if segment.overlays:
                    self._inner[id(segment)] = min(o.mtu for o in segment.overlays)
            self._settle()
            if before == {id(o): o.mtu for o in self._draft.overlays}:
                break
        for overlay in self._draft.overlays:
            self._check_tunnel(overlay)
        for link in self._draft.links:
            for end in link.ends:
                self._check_ipv6(link, end)
        for segment in self._draft.segments:
            if segment.overlays:
                self._check_inner(segment)
        for node in self._draft.nodes.values():
            for end in node.ends:
                if end.peer is None:
                    end.mtu = self._own(node, end, 0)

    def _own(self, node: NodeDraft, own: EndDraft, depth: int) -> int:
        """The MTU of an interface of a node's own: that which is written, else that of what it is made on.

        A bond gives its parts its own; a VLAN's is at most that of what is below.
        """
        if own.name == "lo":
            return LOOPBACK_MTU
        written = own.settings.one("mtu", int)
        below = [end for name in made_on(own) for end in node.ends if end.name == name]
        if "vrf" in own.settings.found or not below or depth > len(node.ends):
            return written.value if written is not None else self._default
        least = min(below, key=lambda end: self._of(node, end, depth))
        room = self._of(node, least, depth)
        if written is not None and written.value > room:
            self._diagnostics.add(
                "E0217",
                f"the MTU of `{own.full_name}` is larger than what it is made on",
                written.range,
                f"at most {room}",
                others=[Label(least.range, f"{least.full_name} has an MTU of {room}")],
            )
        mtu = min(room, written.value) if written is not None else room
        for end in below if "bond" in own.settings.found else ():
            self._bonded(own, end, mtu)
        return mtu

    def _of(self, node: NodeDraft, end: EndDraft, depth: int) -> int:
        return end.mtu if end.peer is not None else self._own(node, end, depth + 1)

    def _bonded(self, bond: EndDraft, end: EndDraft, mtu: int) -> None:
        own = end.settings.one("mtu", int)
        if own is not None and own.value != mtu:
            self._diagnostics.add(
                "E0217",
                f"`{end.full_name}` has another MTU than its bond",
                own.range,
                f"`{bond.name}` has {mtu}",
                others=[Label(bond.range, "the bond")],
                help="a bond gives its parts its own: leave this out",
            )
        end.mtu = mtu

    def _settle(self) -> None:
        for segment in self._draft.segments:
            default = self._inner.get(id(segment), self._default)
            for bridge in segment.bridges:
                own = bridge.settings.one("mtu", int)
                self.of_bridge[bridge.name] = own.value if own is not None else default
            for link in segment.links:
                for end in link.ends:
                    end.mtu = self._end(link, end, default)

    def _end(self, link: LinkDraft, end: EndDraft, default: int) -> int:
        own = end.settings.one("mtu", int) or link.settings.one("mtu", int)
        if own is not None:
            return own.value
        if not link.bridges:
            return default
        return min(self.of_bridge[bridge.name] for bridge in link.bridges)

    def _check_ipv6(self, link: LinkDraft, end: EndDraft) -> None:
        """IPv6 is off on an interface with a smaller MTU, and the kernel refuses its addresses."""
        if end.mtu >= LEAST_IPV6 or not any(a.version == 6 for a in end.addresses):
            return
        own = end.settings.one("mtu", int) or link.settings.one("mtu", int)
        self._diagnostics.add(
            "E0506",
            f"the MTU of `{end.full_name}` is too small for IPv6",
            own.range if own is not None else end.range,
            f"{end.mtu}, and IPv6 needs {LEAST_IPV6}",
        )

    def _room(self, overlay: OverlayDraft) -> tuple[int, EndDraft] | None:
        """The largest inner MTU, and the underlay's interface that decides it."""
        rooms = [
            (end.mtu - OVERHEAD[vtep.address.version], end)
            for vtep in overlay.vteps
            if vtep.address is not None
            for end in (_sending(vtep.end) if vtep.end is not None else ())
        ]
        return min(rooms, key=lambda room: room[0], default=None)

    def _overlay(self, overlay: OverlayDraft) -> int:
        own = overlay.settings.one("mtu", int)
        if own is not None:
            return own.value
        room = self._room(overlay)
        if room is not None:
            return max(68, room[0])
        versions = (vtep.address.version for vtep in overlay.vteps if vtep.address is not None)
        return self._default - OVERHEAD[next(versions, 4)]

    def _check_tunnel(self, overlay: OverlayDraft) -> None:
        room = self._room(overlay)
        own = overlay.settings.one("mtu", int)
        if room is None or overlay.mtu <= room[0]:
            return
        inner, end = room
        self._diagnostics.add(
            "E0501",
            f"the MTU of overlay `{overlay.name}` does not fit its underlay",
            own.range if own is not None else overlay.range,
            f"at most {max(inner, 0)}",
            others=[Label(end.range, f"{end.full_name} has an MTU of {end.mtu}")],
            help=f"VXLAN adds {end.mtu - inner} bytes to each frame",
        )

    def _check_inner(self, segment: Segment) -> None:
        overlay = min(segment.overlays, key=lambda o: o.mtu)
        for bridge in segment.bridges:
            own = bridge.settings.one("mtu", int)
            if own is not None:
                self._fits(own.value, own.range, f"bridge `{bridge.name}`", overlay)
        for link in segment.links:
            for end in link.ends:
                own = end.settings.one("mtu", int) or link.settings.one("mtu", int)
                if own is not None:
                    self._fits(own.value, own.range, f"`{end.full_name}`", overlay)

    def _fits(self, mtu: int, place: Range, what: str, overlay: OverlayDraft) -> None:
        if mtu > overlay.mtu:
            self._diagnostics.add(
                "E0501",
                f"the MTU of {what} is larger than its overlay's",
                place,
                f"overlay `{overlay.name}` carries {overlay.mtu}",
                others=[Label(overlay.range, "the overlay")],
                help="leave it out: it follows from the overlay",
            )


def _sending(end: EndDraft) -> list[EndDraft]:
    """What a tunnel at an interface sends by; at a loopback that is any of the host's links."""
    return [end] if end.peer is not None else [each for each in end.node.ends if each.peer is not None]
