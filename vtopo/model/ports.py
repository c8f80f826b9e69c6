"""What bridges' ports are told: their VLANs, what they learn and hear; what is said of a port that is none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model import lab as model
from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft, OverlayDraft
from vtopo.model.properties import Read, Setting, Settings

OF_PORTS = ("vlan", "trunk", "isolated", "learning", "flood", "cost", "static-mac")
"""The properties of a link's end that only a bridge's port can have."""

_VLANS = ("vlan", "trunk")


class PortPass:
    """Says what each port is told, and which bridges tell VLANs apart."""

    def __init__(self, draft: Draft, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._diagnostics = diagnostics

    def of(self, link: LinkDraft, end: EndDraft) -> model.Port | None:
        """What an end's port is told; None if it is not a bridge's."""
        if not end.node.is_bridge:
            return None
        own = end.settings
        learning, flood = own.value("learning", bool), own.value("flood", bool)
        vlan, trunk = _vlans(own, link.settings)
        return model.Port(
            vlan,
            trunk,
            own.value("isolated", bool) or False,
            learning if learning is not None else True,
            flood if flood is not None else True,
            own.value("cost", int) or 0,
            tuple(self._static(setting, vlan) for setting in own.many("static-mac")),
        )

    def _static(self, setting: Setting[Read], vlan: int) -> model.StaticMac:
        return model.StaticMac(str(setting.slots["mac"]), setting.slot("vlan", int) or vlan)

    def of_overlay(self, overlay: OverlayDraft) -> tuple[int, tuple[int, ...]]:
        """The VLANs that an overlay carries: one untagged (0: none), others tagged."""
        return _vlans(overlay.settings, Settings())

    @cached_property
    def aware(self) -> frozenset[NodeDraft]:
        """The bridges that tell VLANs apart: any of their ports, or they themselves, are in one."""
        found = {bridge for bridge in self._draft.nodes.values() if bridge.settings.found.get("vlan")}
        for link in self._draft.links:
            found |= {end.node for end in link.ends if end.node.is_bridge and self._has_vlan(link, end)}
        for overlay in self._draft.overlays:
            if any(name in overlay.settings.found for name in _VLANS):
                found |= {vtep.bridge for vtep in overlay.vteps}
        return frozenset(node for node in found if node.kind == "bridge")

    def vlan_at(self, link: LinkDraft, end: EndDraft, tag: int) -> int | None:
        """The VLAN of a frame that comes in at a bridge's port with a tag (0: without); None if it does not pass.

        A bridge that tells none apart passes tags on as they are.
        """
        if end.node not in self.aware:
            return tag
        return _inside(*_vlans(end.settings, link.settings), tag)

    def vlan_of(self, overlay: OverlayDraft, bridge: NodeDraft, tag: int) -> int | None:
        """The same at a tunnel end that extends a bridge."""
        return _inside(*self.of_overlay(overlay), tag) if bridge in self.aware else tag

    def own_vlan(self, bridge: NodeDraft) -> int:
        """The VLAN that a bridge's own interface is in untagged; 0: none."""
        for setting in bridge.settings.many("vlan"):
            if setting.block is not None and setting.block.found.get("address"):
                assert isinstance(setting.value, int)
                return setting.value
        return 0

    def own_trunk(self, bridge: NodeDraft) -> tuple[int, ...]:
        """The VLANs that a bridge's own interface is in tagged: those that its host's interfaces are made on."""
        if bridge not in self.aware or bridge.host is None:
            return ()
        name = bridge.name.removeprefix(f"{bridge.host.name}.")
        found = {
            setting.value
            for end in bridge.host.ends
            if end.peer is None
            for setting in end.settings.many("vlan")
            if str(setting.slots["on"]) == name and isinstance(setting.value, int)
        }
        return tuple(sorted(found - {self.own_vlan(bridge)}))

    def numbering(self, bridge: NodeDraft, vlan: int) -> Settings:
        """Where a bridge says the subnets, the gateways and its own addresses of a VLAN (0: it tells none apart)."""
        if bridge not in self.aware:
            return bridge.settings
        blocks = (s.block for s in bridge.settings.many("vlan") if s.value == vlan and s.block is not None)
        return next(blocks, Settings())

    def tags(self) -> frozenset[int]:
        """All VLANs that anything is in by itself, and 0 for none."""
        found = {0}
        for link in self._draft.links:
            for end in link.ends:
                found.add(_vlans(end.settings, link.settings)[0])
        for node in self._draft.nodes.values():
            found |= {s.value for s in node.settings.many("vlan") if isinstance(s.value, int)}
            for end in node.ends:
                if end.peer is None:
                    found |= {s.value for s in end.settings.many("vlan") if isinstance(s.value, int)}
        return frozenset(found)

    def _has_vlan(self, link: LinkDraft, end: EndDraft) -> bool:
        return any(_vlans(end.settings, link.settings))

    # Checks

    def check(self) -> None:
        """Report what contradicts itself, or is said of what is no port."""
        for link in self._draft.links:
            self._diagnostics.via = link.via
            self._misplaced(link)
            for end in link.ends:
                if end.node.is_bridge:
                    self._vlans_agree(end.settings, link.settings)
                    self._statics(link, end)
        for overlay in self._draft.overlays:
            self._diagnostics.via = None
            self._vlans_agree(overlay.settings, Settings())
            self._overlay(overlay)
        for bridge in self._draft.nodes.values():
            if bridge.kind == "bridge":
                self._diagnostics.via = bridge.via
                self._own_vlan(bridge)

    def _own_vlan(self, bridge: NodeDraft) -> None:
        """What a bridge that tells VLANs apart numbers, and its own address, are in one of them."""
        addressed = [s for s in bridge.settings.many("vlan") if s.block and s.block.found.get("address")]
        if len(addressed) > 1:
            self._diagnostics.add(
                "E0217",
                f"`{bridge.name}` has addresses in two VLANs",
                addressed[1].range,
                "a second one",
                others=[Label(addressed[0].range, "the first")],
                help="its own interface is in one; a host has more: `interface v10 { vlan 10 on ETH; address … }`",
            )
        for name in ("subnet", "pool", "address", "gateway") if bridge in self.aware else ():
            for setting in bridge.settings.found.get(name, ())[:1]:
                self._diagnostics.add(
                    "E0217",
                    f"`{name}` of `{bridge.name}` is in no VLAN",
                    setting.range,
                    "its ports pass their own VLANs only",
                    help=f"say which: `vlan 10 {{ {name} … }}` in its block",
                )

    def _misplaced(self, link: LinkDraft) -> None:
        for end in link.ends:
            if end.node.kind == "bridge" or not end.settings.found:
                continue
            for name in OF_PORTS:
                for setting in end.settings.found.get(name, ())[:1]:
                    self._no_port(name, setting, end)
        if not link.bridges and link.settings.found:
            for name in _VLANS:
                for setting in link.settings.found.get(name, ())[:1]:
                    self._no_port(name, setting, link.right)

    def _no_port(self, name: str, setting: Setting[Read], end: EndDraft) -> None:
        what = "an uplink" if end.node.kind == "uplink" else "no bridge"
        vlan = "for a VLAN of the node's own write `interface v10 { vlan 10 on ETH }` in its block"
        self._diagnostics.add(
            "E0217",
            f"`{name}` is what a bridge's port has",
            setting.range,
            f"`{end.node.name}` is {what}",
            others=[Label(end.range, "this end")],
            help=vlan if name in _VLANS and end.node.kind != "uplink" else "",
        )

    def _vlans_agree(self, own: Settings, shared: Settings) -> None:
        """A VLAN passes a port with its tag or without."""
        vlan = own.one("vlan", int) or shared.one("vlan", int)
        trunk = own.one("trunk", tuple) or shared.one("trunk", tuple)
        if vlan is not None and trunk is not None and vlan.value in trunk.value:
            self._diagnostics.add(
                "E0217",
                f"VLAN {vlan.value} is tagged and untagged on one port",
                trunk.range,
                "tagged here",
                others=[Label(vlan.range, "untagged here")],
                help="leave it out of the `trunk`: `vlan` is the trunk's native VLAN",
            )

    def _statics(self, link: LinkDraft, end: EndDraft) -> None:
        vlan, trunk = _vlans(end.settings, link.settings)
        mine = {vlan, *trunk} - {0}
        for setting in end.settings.many("static-mac"):
            wanted = setting.slot("vlan", int)
            if wanted is not None and wanted not in mine:
                label = f"it has {', '.join(map(str, sorted(mine)))}" if mine else "it has no VLAN"
                self._diagnostics.add("E0217", f"this port is not in VLAN {wanted}", setting.range, label)
            elif wanted is None and not vlan and end.node in self.aware:
                self._diagnostics.add(
                    "E0217",
                    "this address is in no VLAN",
                    setting.range,
                    "the port has no untagged one",
                    help=f"say which: `static-mac {setting.slots['mac']} vlan N`",
                )

    def _overlay(self, overlay: OverlayDraft) -> None:
        """An overlay is a port of its bridges: where these tell VLANs apart, it says which it carries."""
        if any(name in overlay.settings.found for name in _VLANS):
            return
        for vtep in overlay.vteps:
            if vtep.bridge in self.aware:
                self._diagnostics.add(
                    "E0217",
                    f"overlay `{overlay.name}` carries no VLAN of `{vtep.bridge.name}`",
                    vtep.range,
                    "the ports of this bridge pass their own VLANs only",
                    help="say which, in the overlay's block: `vlan 10`, or `trunk [10, 20]`",
                )
                return

    def mute(self) -> Iterator[tuple[LinkDraft, EndDraft]]:
        """The ports that pass nothing: their bridge tells VLANs apart, and they are in none."""
        for link in self._draft.links:
            for end in link.ends:
                if end.node in self.aware and not self._has_vlan(link, end):
                    yield link, end


def _vlans(own: Settings, shared: Settings) -> tuple[int, tuple[int, ...]]:
    """The untagged VLAN of a port (0: none) and the tagged ones: its own words count, else its link's."""
    trunk = own.one("trunk", tuple) or shared.one("trunk", tuple)
    vlan = own.value("vlan", int) or shared.value("vlan", int)
    return vlan or 0, tuple(sorted(set(trunk.value))) if trunk is not None else ()


def carried(overlay: Settings) -> tuple[int, ...]:
    """The VLANs of its bridges that an overlay carries, untagged and tagged; none if it says none."""
    vlan, trunk = _vlans(overlay, Settings())
    return tuple({vlan, *trunk} - {0})


def _inside(vlan: int, trunk: tuple[int, ...], tag: int) -> int | None:
    if tag == 0:
        return vlan or None
    return tag if tag in trunk else None
