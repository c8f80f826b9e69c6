"""A frame as it was seen on an interface."""

from __future__ import annotations

from vtopo.values import dataclass

ETHERNET, RAW_IP = 1, 101
"""Link types (https://www.tcpdump.org/linktypes.html): what the first byte of a frame is of."""


@dataclass(frozen=True, slots=True)
class Tapped:
    """An interface that is listened to: its full name in the lab, its name in the kernel, its link type."""

    name: str
    device: str
    link_type: int = ETHERNET


@dataclass(frozen=True, slots=True)
class Frame:
    """What one interface sent or received; `at` in nanoseconds since 1970, `tap` the interface's number."""

    at: int
    tap: int
    is_sent: bool
    data: bytes
