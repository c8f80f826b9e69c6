"""Asks a guest from outside whether it accepts TCP connections, by a SYN on its tap: it needs no agent for that.

The machine's own network has no way into a lab, and a guest's neighbours may not run yet. So the frames are made
here, as RFC 9293 has the segments, RFC 826 and RFC 4861 what a guest asks before it answers.
"""

from __future__ import annotations

import secrets
import select
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from vtopo.compile.resources.domains import Door
from vtopo.values import dataclass

_OWN_MAC = bytes.fromhex("027674706f00")  # of no node: theirs are 02 and five bytes of a hash
_ALL, _IPV4, _ARP, _IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
_TCP, _ICMPV6 = 6, 58
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOLICITED_OVERRIDE = 0x60000000
_ANSWER = 1.0  # seconds that an answer may take; an emulated guest has to look for the way first
_LOOK = 0.1  # seconds between two looks at whether anybody still wants to know
_OUTGOING = 4  # PACKET_OUTGOING (packet(7))


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, and where."""

    mac: bytes
    source: IPv4Address | IPv6Address
    target: IPv4Address | IPv6Address
    port: int
    own_port: int

    def segment(self, flags: int, sequence: int, acknowledged: int = 0) -> bytes:
        """A frame with a TCP segment without data."""
        head = struct.pack(
            ">HHIIBBHHH", self.own_port, self.port, sequence, acknowledged, 5 << 4, flags, 64240, 0, 0
        )
        return self._frame(_TCP, head, 16)

    def advertisement(self) -> bytes:
        """A neighbour advertisement of the source."""
        body = struct.pack(">BBHI", _ADVERTISEMENT, 0, 0, _SOLICITED_OVERRIDE) + self.source.packed
        return self._frame(_ICMPV6, body + b"\x02\x01" + _OWN_MAC, 2)

    def arp_reply(self) -> bytes:
        """An ARP reply for the source."""
        head = struct.pack(">HHBBH", 1, _IPV4, 6, 4, 2)
        body = head + _OWN_MAC + self.source.packed + self.mac + self.target.packed
        return self.mac + _OWN_MAC + struct.pack(">H", _ARP) + body

    def _frame(self, protocol: int, payload: bytes, at: int) -> bytes:
        """In IP and Ethernet, with the payload's checksum `at` its place."""
        pseudo = self.source.packed + self.target.packed + struct.pack(">II", len(payload), protocol)
        checksum = struct.pack(">H", _checksum(pseudo + payload))
        payload = payload[:at] + checksum + payload[at + 2 :]
        if self.source.version == 4:
            ends = self.source.packed + self.target.packed
            parts = (0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol)
            bare = struct.pack(">BBHHHBB", *parts)
            head = bare + struct.pack(">H", _checksum(bare + b"\0\0" + ends)) + ends
            kind = _IPV4
        else:
            head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 255)
            head += self.source.packed + self.target.packed
            kind = _IPV6
        return self.mac + _OWN_MAC + struct.pack(">H", kind) + head + payload

    def reply_to(self, frame: bytes) -> bytes | None:
        """What is answered to a guest that asks where the source is; None if it asks nothing."""
        kind = struct.unpack_from(">H", frame, 12)[0]
        body = frame[14:]
        if (
            kind == _ARP
            and self.source.version == 4
            and body[6:8] == b"\0\1"
            and body[24:28] == self.source.packed
        ):
            return self.arp_reply()
        if (
            kind == _IPV6
            and len(body) >= 64
            and (body[6], body[40]) == (_ICMPV6, _SOLICITATION)
            and body[48:64] == self.source.packed
        ):
            return self.advertisement()
        return None

    def accepted(self, frame: bytes) -> int | None:
        """The number that a guest that accepts the connection expects next; None for any other frame."""
        kind = int.from_bytes(frame[12:14])
        ip = frame[14:]
        if kind == _IPV4 and self.source.version == 4 and len(ip) >= 20 and ip[9] == _TCP:
            ends, tcp = ip[12:20], ip[(ip[0] & 15) * 4 :]
        elif kind == _IPV6 and self.source.version == 6 and len(ip) >= 40 and ip[6] == _TCP:
            ends, tcp = ip[8:40], ip[40:]
        else:
            return None
        if ends != self.target.packed + self.source.packed or len(tcp) < 20:
            return None
        port, own, _, acknowledged, _, flags = struct.unpack_from(">HHIIBB", tcp)
        wanted = (port, own) == (self.port, self.own_port) and flags & (_SYN | _ACK) == _SYN | _ACK
        return int(acknowledged) if wanted else None


def accepts(door: Door, port: int, go_on: Callable[[], bool]) -> bool:
    """Whether a guest accepts a connection now; to be called in the network namespace of its tap.

    OSError if the tap is gone.
    """
    own_port = 32768 + secrets.randbelow(28000)
    mac = bytes.fromhex(door.mac.replace(":", ""))
    asker = _Asker(mac, ip_address(door.source), ip_address(door.address), port, own_port)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as tap:
        tap.bind((door.tap, _ALL))
        tap.send(asker.segment(_SYN, secrets.randbits(32)))
        end = time.monotonic() + _ANSWER
        while (left := end - time.monotonic()) > 0 and go_on():
            if not select.select([tap], [], [], min(left, _LOOK))[0]:
                continue
            frame, (_, _, direction, _, _) = tap.recvfrom(2048)
            if direction == _OUTGOING or len(frame) < 42:
                continue
            if (number := asker.accepted(frame)) is not None:
                tap.send(asker.segment(_RST, number))  # we wanted no more than to know
                return True
            if (reply := asker.reply_to(frame)) is not None:
                tap.send(reply)
        return False


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
