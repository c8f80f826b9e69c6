"""Says of LANs that an edit makes bridges of cables, or cables of bridges, why what they are made of comes and goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vtopo.compile.resources import Bridge, Resource, Veth


def turned(wanted: Mapping[str, Resource], recorded: Mapping[str, Resource]) -> Mapping[str, str]:
    """By the ids of bridges and veth pairs that come and go with such a change: the reason, in words."""
    reasons: dict[str, str] = {}
    for bridge, ids in _both_ways(recorded, wanted):
        reasons |= dict.fromkeys(ids, f"{_name(bridge)} is a bridge now: {bridge.why}")
    for bridge, ids in _both_ways(wanted, recorded):
        text = f"{_name(bridge)} is a cable now: it has two ends, and nothing that takes a bridge"
        reasons |= dict.fromkeys(ids, text)
    return reasons


def _both_ways(
    cables: Mapping[str, Resource], bridges: Mapping[str, Resource]
) -> Iterator[tuple[Bridge, list[str]]]:
    """Each LAN that is a cable on one side and a bridge on the other, with the ids of what it is on both."""
    for cable in cables.values():
        if isinstance(cable, Veth) and cable.stands_for is not None:
            bridge = bridges.get(f"{cable.stands_for}/bridge")
            if isinstance(bridge, Bridge):
                ports = [r.id for r in bridges.values() if isinstance(r, Veth) and _shares_an_end(r, cable)]
                yield bridge, [cable.id, bridge.id, *ports]


def _shares_an_end(port: Veth, cable: Veth) -> bool:
    return not set(port.ends).isdisjoint(cable.ends)


def _name(bridge: Bridge) -> str:
    return bridge.id.removesuffix(f"/{Bridge.kind}")
