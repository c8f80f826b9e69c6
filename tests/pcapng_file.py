"""Reads capture files (pcapng), by the book and nothing else, for the tests of what writes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PACKET, INTERFACE = 6, 1


@dataclass(frozen=True)
class Packet:
    """A packet with its interface's name and whether that sent it; `at` in ns since 1970."""

    interface: str
    is_sent: bool
    at: int
    data: bytes


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """The blocks of a file: kind and body. What is no whole number of whole blocks fails."""
    found = []
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        assert size % 4 == 0
        assert data[at + size - 4 : at + size] == struct.pack("=I", size)
        found.append((kind, data[at + 8 : at + size - 4]))
        at += size
    return found


def options(data: bytes) -> dict[int, bytes]:
    """The options at the end of a block."""
    found: dict[int, bytes] = {}
    at = 0
    while True:
        code, size = struct.unpack_from("=HH", data, at)
        if code == 0:
            assert at + 4 == len(data)
            return found
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


def packets(data: bytes) -> list[Packet]:
    """The packets of a file of one section."""
    names: list[str] = []
    found: list[Packet] = []
    for kind, body in blocks(data):
        if kind == INTERFACE:
            names.append(options(body[8:])[2].decode())
        elif kind == PACKET:
            number, high, low, captured, length = struct.unpack_from("=5I", body)
            assert captured == length
            flags = options(body[20 + (captured + 3) // 4 * 4 :])[2]
            is_sent = struct.unpack("=I", flags)[0] & 3 == 2
            found.append(Packet(names[number], is_sent, (high << 32) + low, body[20 : 20 + captured]))
    return found
