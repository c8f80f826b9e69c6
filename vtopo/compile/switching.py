"""What a lab says of bridges and their ports, as the kernel can keep it."""

from __future__ import annotations

from typing import TypedDict

from vtopo.compile.resources.ports import PLAIN, BridgePort, vlan_text
from vtopo.model import lab as model


class BridgeOptions(TypedDict):
    """The fields of a bridge's resource besides what it is called and where it is."""

    stp: bool
    priority: int
    forward_delay: int
    hello_time: int
    max_age: int
    ageing: int
    snooping: bool
    aware: bool
    vlan: int
    trunk: str


_TICK = 10_000
"""µs that the kernel counts a bridge's times in (USER_HZ)."""


def _ms(time: int) -> int:
    return time // _TICK * _TICK // 1000


def bridge_options(bridge: model.Bridge) -> BridgeOptions:
    """How a bridge switches."""
    return BridgeOptions(
        stp=bridge.stp,
        priority=bridge.priority,
        forward_delay=_ms(bridge.forward_delay),
        hello_time=_ms(bridge.hello_time),
        max_age=_ms(bridge.max_age),
        ageing=_ms(bridge.ageing),
        snooping=bridge.snooping,
        aware=bridge.aware,
        vlan=bridge.vlan,
        trunk=vlan_text(bridge.trunk),
    )


def bridge_port(port: model.Port | None) -> BridgePort | None:
    """What a port is told; None if nothing."""
    if port is None:
        return None
    told = BridgePort(
        vlan=port.vlan,
        trunk=vlan_text(port.trunk),
        isolated=port.isolated,
        learning=port.learning,
        flood=port.flood,
        cost=port.cost,
    )
    return told if told != PLAIN else None


def overlay_port(overlay: model.Overlay) -> BridgePort | None:
    """What the ports are told that an overlay's tunnel ends are."""
    return bridge_port(model.Port(overlay.vlan, overlay.trunk))
