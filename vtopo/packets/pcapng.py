"""Capture files as Wireshark and tcpdump read them: pcapng (draft-ietf-opsawg-pcapng), one section, little blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from vtopo.packets.frame import Frame, Tapped

LONGEST = 262_144
"""Bytes of a frame that are kept; no interface of Linux sends longer ones."""

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_MAGIC = 0x1A2B3C4D
_END, _USER_APPLICATION, _OS = 0, 4, 3
_NAME, _DESCRIPTION, _RESOLUTION, _FILTER = 2, 3, 9, 11
_FLAGS, _RECEIVED, _DROPPED = 2, 4, 5
_INBOUND, _OUTBOUND = 1, 2
_NANOSECONDS = b"\x09"  # timestamps count units of 10^-9 s


def header(taps: Sequence[Tapped], application: str, filter: str = "") -> bytes:
    """The beginning of a file: the section, and its interfaces, whose numbers are their places in `taps`."""
    options = _text(_OS, "Linux") + _text(_USER_APPLICATION, application)
    blocks = _block(_SECTION, struct.pack("=IHHq", _MAGIC, 1, 0, -1) + options + _no_more())
    for tap in taps:
        options = _text(_NAME, tap.name)
        if tap.device != tap.name.partition(":")[2]:
            options += _text(_DESCRIPTION, f"{tap.device} in the kernel")
        options += _option(_RESOLUTION, _NANOSECONDS)
        if filter:
            options += _option(_FILTER, b"\0" + filter.encode())
        blocks += _block(_INTERFACE, struct.pack("=HHI", tap.link_type, 0, LONGEST) + options + _no_more())
    return blocks


def packet(frame: Frame) -> bytes:
    """A frame, with its direction."""
    high, low = divmod(frame.at, 1 << 32)
    size = len(frame.data)
    fixed = struct.pack("=5I", frame.tap, high, low, size, size)
    direction = struct.pack("=I", _OUTBOUND if frame.is_sent else _INBOUND)
    return _block(_PACKET, fixed + _padded(frame.data) + _option(_FLAGS, direction) + _no_more())


def statistics(tap: int, at: int, received: int, dropped: int) -> bytes:
    """How many frames an interface had for us until `at`, and how many of these there was no room for."""
    high, low = divmod(at, 1 << 32)
    options = _option(_RECEIVED, struct.pack("=Q", received)) + _option(_DROPPED, struct.pack("=Q", dropped))
    return _block(_STATISTICS, struct.pack("=3I", tap, high, low) + options + _no_more())


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + size + body + size


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _text(code: int, text: str) -> bytes:
    return _option(code, text.encode())


def _no_more() -> bytes:
    return _option(_END, b"")
