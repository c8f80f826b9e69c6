"""Which LANs are nothing but a cable: a bridge with two ends, and nothing that takes a bridge, is one veth pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vtopo.model.draft import mac_of
from vtopo.model.lab import Bridge, Impairment, Interface, Lab, Link, Port
from vtopo.values import dataclass

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_UNIMPAIRED = Impairment()
_PLAIN = Port()


@dataclass(frozen=True, slots=True)
class Plug:
    """One link of a LAN: the node's end, and the bridge's port."""

    link: Link
    end: Interface
    port: Interface


@dataclass(frozen=True, slots=True)
class Cable:
    """A LAN that is a cable, between the nodes' ends of its two links, the first in the text being the left one."""

    lan: Bridge
    left: Plug
    right: Plug


def cables(lab: Lab) -> Mapping[str, Cable | str]:
    """Of each bridge, by its name: the cable that it is, or why it is none, in words that follow its name and a colon.

    Nothing may tell the cable from the bridge that the text speaks of, but that frames get there sooner.
    """
    plugs: dict[str, list[Plug]] = {b.name: [] for b in lab.bridges if b.kind == "bridge"}
    for link in lab.links:
        for end, port in ((link.left, link.right), (link.right, link.left)):
            if port.node in plugs:
                plugs[port.node].append(Plug(link, end, port))
    look = _Look(lab)
    found: dict[str, Cable | str] = {}
    for bridge in lab.bridges:
        if bridge.name in plugs:
            those = plugs[bridge.name]
            reason = next(look.against(bridge, those), None)
            found[bridge.name] = Cable(bridge, *those) if reason is None else reason
    return found


class _Look:
    """What else the lab says that counts for its LANs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab.name
        self._kinds = {h.name: h.kind for h in lab.hosts} | {b.name: b.kind for b in lab.bridges}
        self._extended = {vtep.bridge: overlay.name for overlay in lab.overlays for vtep in overlay.vteps}
        self._waiting = {life.node for life in lab.lives if life.after}

    def against(self, bridge: Bridge, plugs: Sequence[Plug]) -> Iterator[str]:
        """All that keeps a bridge from being a cable."""
        if bridge.parent is not None:
            yield f"it is an interface of {bridge.parent}"
        if len(plugs) != 2:
            number = _NUMBERS[len(plugs)] if len(plugs) < len(_NUMBERS) else str(len(plugs))
            yield f"it has {number} end{'s' if len(plugs) != 1 else ''}"
            return
        if bridge.name in self._extended:
            yield f"overlay {self._extended[bridge.name]} extends it"
        if bridge.addresses:
            yield "it has an address of its own"
        for option in bridge.options:
            yield f"it says `{option}`"
        if plugs[0].end.node == plugs[1].end.node:
            yield f"both its ends are {plugs[0].end.node}'s"
        for plug in plugs:
            yield from self._against(plug)
        if len({bridge.mtu, *(i.mtu for plug in plugs for i in (plug.end, plug.port))}) > 1:
            yield "not all of it has the same MTU"

    def _against(self, plug: Plug) -> Iterator[str]:
        node, port = plug.end.node, plug.port
        kind = self._kinds[node]
        if kind not in ("host", "container"):
            yield f"at one end is the {kind} {node}"
        if kind == "container" and node in self._waiting:
            # The cable would come with it: whom it waits for would have to do without an interface until then.
            yield f"at one end is {node}, which waits for others"
        if plug.link.forth != _UNIMPAIRED or plug.link.back != _UNIMPAIRED:
            yield f"its link to {node} does something to packets"
        if not (plug.end.up and port.up):
            yield f"its link to {node} is down"
        if port.port not in (None, _PLAIN):
            yield f"its port to {node} has options"
        if port.mac != mac_of(self._lab, port.full_name):
            yield f"its port to {node} has a MAC of its own"
