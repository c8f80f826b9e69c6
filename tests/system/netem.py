"""Packets through a link, numbered and timed by the kernel that receives them, for what netem does to be measured."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import sqrt

import pytest
from cli import Node

_SO_NO_CHECK = 11
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_PORT = 9999
_HEAD = struct.Struct("!QQ")
_FRAME = 14 + 20 + 8
"""Bytes of the headers: Ethernet, IPv4, UDP."""
_BYTES = 1000
"""Of a datagram: a bit that netem turns is almost always one of these, and not of a header."""
IN_DATA = _BYTES / (_BYTES + _FRAME)
"""The share of turned bits that are seen here; one in a header mostly has the packet dropped."""
_QUIET = 1.5
"""After so many seconds without a packet there is none under way any more."""


@cache
def has_netem() -> bool:
    """Whether a namespace's loopback can have a netem qdisc."""
    script = "ip link set lo up; tc qdisc add dev lo root netem delay 1ms"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


needs_netem = pytest.mark.skipif(not has_netem(), reason="this kernel has no netem")


@dataclass(frozen=True)
class Arrival:
    """A datagram as it came."""

    number: int
    delay: float
    """Seconds from sending it until the other end's kernel had it."""
    intact: bool
    at: float


def flow(
    sender: Node, receiver: Node, address: str, count: int, gap: float = 0.001, batch: int = 1
) -> list[Arrival]:
    """What arrives, in order, of `count` datagrams that a node sends to another's address, with `gap` seconds at least
    after each `batch` of them."""
    with (
        sender.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        receiver.socket(socket.AF_INET, socket.SOCK_DGRAM) as into,
    ):
        out.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)  # else the kernel drops what netem corrupts
        into.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        into.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        into.bind((address, _PORT))
        out.connect((address, _PORT))
        _ready(out, into)
        for number in range(count):
            out.send(_datagram(number))
            if (number + 1) % batch == 0:
                time.sleep(gap)
        return list(_received(into))


def _ready(out: socket.socket, into: socket.socket) -> None:
    """Returns once the sender knows the other's MAC, and the kernel stamps what arrives rather than what is read.

    What waits for the one is neither late nor lost by netem; the other begins some time after it was asked for.
    """
    end = time.monotonic() + 30
    into.setblocking(False)
    while time.monotonic() < end:
        out.send(b"hello")
        time.sleep(_QUIET / 2)
        with contextlib.suppress(BlockingIOError):
            while time.time() - _stamp(into.recvmsg(_BYTES, 64)[1]) < _QUIET / 10:
                pass
            return
    raise AssertionError("nothing arrives at all")


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    ((_, _, stamp),) = ancillary
    seconds, nanoseconds = struct.unpack("=qq", stamp)
    return float(seconds + nanoseconds / 1e9)


def _datagram(number: int) -> bytes:
    text = _HEAD.pack(number, time.time_ns()).ljust(_BYTES - 4, b"\x55")
    return text + zlib.crc32(text).to_bytes(4)


def _received(into: socket.socket) -> Iterator[Arrival]:
    """Until it is quiet."""
    into.settimeout(_QUIET)
    while True:
        try:
            data, ancillary, _, _ = into.recvmsg(_BYTES, 64)
        except TimeoutError:
            return
        if len(data) != _BYTES:
            continue  # one more hello
        at = _stamp(ancillary)
        number, sent = _HEAD.unpack_from(data)
        intact = zlib.crc32(data[:-4]).to_bytes(4) == data[-4:]
        yield Arrival(number, at - sent / 1e9, intact, at)


def as_often(found: int, of: int, share: float) -> bool:
    """Whether so many of so many are what chance makes of a share: all but one of 15,000 runs are within this."""
    return abs(found - of * share) <= 4 * sqrt(of * share * (1 - share))
