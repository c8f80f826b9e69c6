"""What a lab says of a direction of a link, as the kernel can keep it."""

from __future__ import annotations

from vtopo.compile.resources import Impairment
from vtopo.model import lab as model

_FRAME = 18
"""Bytes of a frame besides its MTU: the Ethernet header, and a VLAN tag."""
_BURST = 100
"""Without a written burst, it is what the rate passes in this part of a second."""


_PERFECT = model.Impairment()


def impairment(way: model.Impairment, mtu: int) -> Impairment | None:
    """What the end that sends this way does to its packets; None if nothing.

    A burst below one frame would let none of the largest ones pass, ever (tc-tbf(8)): it is at least one.
    """
    if way == _PERFECT:
        return None
    rate = way.rate // 8 * 8
    burst = max(way.burst or rate // 8 // _BURST, mtu + _FRAME) if rate else 0
    found = Impairment(
        rate=rate,
        burst=burst,
        delay=way.delay,
        jitter=way.jitter,
        loss=way.loss,
        duplicate=way.duplicate,
        corrupt=way.corrupt,
        reorder=way.reorder if way.delay else 0,
    )
    return found if found != Impairment() else None
