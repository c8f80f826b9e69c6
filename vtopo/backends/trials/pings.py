"""A row of ICMP echoes out of a node, and the way that packets take: delay, loss and path."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address, ip_address

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.echo import checksum
from vtopo.backends.trials.place import in_netns
from vtopo.values import dataclass

COUNT, INTERVAL, LAST = 100, 0.01, 1.0
"""Echoes in a row, the seconds between two, and how long the last one is waited for."""
MOST_HOPS, ONE_HOP = 30, 0.4
"""Routers that are asked for on a way, and the seconds that each has to answer."""

_REQUEST, _REPLY, _EXCEEDED = {4: 8, 6: 128}, {4: 0, 6: 129}, {4: 11, 6: 3}
_identifiers = itertools.count(0x7674)


@dataclass(slots=True)
class Row:
    """How many echoes were sent, and the round trips in seconds of those that came back.

    Every raw socket of a namespace hears every answer there; `identifier` tells the row's own.
    """

    sent: int = 0
    trips: list[float] = field(default_factory=list)
    reason: str = "no answer"
    identifier: int = field(default_factory=lambda: next(_identifiers) & 0xFFFF)

    @property
    def delay(self) -> float | None:
        """The mean one way, in seconds: half of there and back."""
        return sum(self.trips) / len(self.trips) / 2 if self.trips else None

    @property
    def loss(self) -> float:
        """The share of echoes that did not come back."""
        return 1 - len(self.trips) / self.sent if self.sent else 1.0


def row(handle: Handle, target: IPv4Address | IPv6Address, count: int = COUNT) -> Row:
    """A row of echoes to a target."""
    found = Row()
    try:
        raw = in_netns(handle, lambda: _raw(target.version))
    except BackendError as e:
        found.reason = str(e)
        return found
    times: dict[int, float] = {}
    with raw:
        end = time.monotonic() + count * INTERVAL + LAST
        due = time.monotonic()
        while len(found.trips) < count and (now := time.monotonic()) < end:
            if now >= due and found.sent < count:
                found.sent += 1
                times[found.sent] = now
                due += INTERVAL
                _send(raw, target, found)
            wait = (due if found.sent < count else end) - time.monotonic()
            if _readable(raw, wait):
                for kind, sequence, _ in _received(raw, target.version, found.identifier):
                    if kind == _REPLY[target.version] and sequence in times:
                        found.trips.append(time.monotonic() - times.pop(sequence))
    return found


def way(handle: Handle, target: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address | None] | str:
    """Who answers for each hop towards a target, the target last; None for a hop that is silent; or why none is."""
    try:
        raw = in_netns(handle, lambda: _raw(target.version))
    except BackendError as e:
        return str(e)
    hops: list[IPv4Address | IPv6Address | None] = []
    sent = Row()
    with raw:
        for limit in range(1, MOST_HOPS + 1):
            if target.version == 4:
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, limit)
            else:
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, limit)
            sent.sent = limit
            _send(raw, target, sent)
            hop = _hop(raw, target.version, sent)
            hops.append(hop)
            if hop == target:
                return hops
            if hops[-3:] == [None, None, None]:
                break
    return f"{target}: {sent.reason}"


def _hop(raw: socket.socket, version: int, sent: Row) -> IPv4Address | IPv6Address | None:
    """Who answers the last echo: a router that ends it, or the target."""
    end = time.monotonic() + ONE_HOP
    while (left := end - time.monotonic()) > 0:
        if not _readable(raw, left):
            continue
        for kind, sequence, sender in _received(raw, version, sent.identifier):
            if sequence == sent.sent and kind in (_REPLY[version], _EXCEEDED[version]):
                return sender
    return None


def _raw(version: int) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    raw = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW, protocol)
    raw.setblocking(False)
    return raw


def _send(raw: socket.socket, target: IPv4Address | IPv6Address, sent: Row) -> None:
    """The echo of the number `sent.sent` (RFC 792, RFC 4443)."""
    version = target.version
    body = struct.pack("!HH", sent.identifier, sent.sent) + b"vtopo" + bytes(51)
    packet = struct.pack("!BBH", _REQUEST[version], 0, 0) + body
    if version == 4:
        packet = struct.pack("!BBH", _REQUEST[version], 0, checksum(packet)) + body
    try:
        raw.sendto(packet, (str(target), 0))
    except OSError as e:
        sent.reason = os.strerror(e.errno or 0).lower()


def _readable(raw: socket.socket, seconds: float) -> bool:
    ready, _, _ = select.select([raw], [], [], max(0.0, seconds))
    return bool(ready)


def _received(
    raw: socket.socket, version: int, wanted: int
) -> Iterator[tuple[int, int, IPv4Address | IPv6Address]]:
    """The kind, number and sender of each message about an echo of ours that waits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                data, sender = raw.recvfrom(2048)
            except BlockingIOError:
                raise
            except OSError:
                return
            if version == 4:
                data = data[(data[0] & 15) * 4 :]
            read = _read(data, version, wanted)
            if read is not None:
                yield *read, ip_address(str(sender[0]).partition("%")[0])


def _read(data: bytes, version: int, wanted: int) -> tuple[int, int] | None:
    """The kind of an ICMP message, and the number of the echo that it answers or gives back."""
    if len(data) < 8:
        return None
    kind = data[0]
    if kind == _EXCEEDED[version]:
        # It has the packet that it is about: its IP header, then the first bytes of the echo.
        inner = data[8:]
        if len(inner) < 1:
            return None
        inner = inner[(inner[0] & 15) * 4 :] if version == 4 else inner[40:]
        if len(inner) < 8 or inner[0] != _REQUEST[version]:
            return None
        data = inner
    _, _, _, identifier, sequence = struct.unpack("!BBHHH", data[:8])
    return (kind, sequence) if identifier == wanted else None
