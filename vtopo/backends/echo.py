"""ICMP echo out of hosts: many at once from one process, each on a raw socket in its host's network namespace."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from ipaddress import IPv4Address, IPv6Address

from vtopo.backends.base import Handle
from vtopo.backends.neighbour_tables import OVERFLOW, overflows
from vtopo.backends.processes import open_verified
from vtopo.backends.syscalls import CLONE_NEWNET, setns
from vtopo.backends.threads import apart
from vtopo.values import dataclass

INTERVAL = 0.2
"""Seconds between two requests of one probe."""
AT_ONCE = 256
"""Probes that run at the same time: enough to wait for all answers together, few enough for every machine."""

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: does `target` answer the host of `handle` within `seconds`?"""

    handle: Handle
    target: IPv4Address | IPv6Address
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """`rtt` is the round trip in seconds, None without an answer; then `reason` says what was seen last."""

    probe: int
    rtt: float | None
    reason: str = ""


@dataclass(slots=True)
class _Running:
    index: int
    probe: Probe
    socket: socket.socket
    ends: float
    sequence: int = 0
    sent: dict[int, float] = field(default_factory=dict)
    reason: str = "no answer"

    def send(self, now: float) -> None:
        """One more echo request (RFC 792, RFC 4443)."""
        version = self.probe.target.version
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.sent[self.sequence] = now
        body = struct.pack("!HH", self._identifier, self.sequence) + b"vtopo" + bytes(51)
        packet = struct.pack("!BBH", _REQUEST[version], 0, 0) + body
        if version == 4:
            # The kernel fills in the checksum of ICMPv6 itself (RFC 3542, 3.1).
            packet = struct.pack("!BBH", _REQUEST[version], 0, checksum(packet)) + body
        try:
            self.socket.sendto(packet, (str(self.probe.target), 0))
        except OSError as e:
            self.reason = os.strerror(e.errno or 0).lower()

    @property
    def _identifier(self) -> int:
        return (self.index + 1) & 0xFFFF

    def received(self, now: float) -> float | None:
        """The round trip, if what waits on the socket is the answer."""
        try:
            data, sender = self.socket.recvfrom(2048)
        except BlockingIOError:
            return None
        except OSError as e:
            self.reason = os.strerror(e.errno or 0).lower()
            return None
        version = self.probe.target.version
        if version == 4:
            data = data[(data[0] & 15) * 4 :]
        if len(data) < 8:
            return None
        kind, _, _, identifier, sequence = struct.unpack("!BBHHH", data[:8])
        if kind != _REPLY[version] or identifier != self._identifier or sequence not in self.sent:
            return None
        if str(sender[0]).partition("%")[0] != str(self.probe.target):
            return None
        return now - self.sent[sequence]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(probes: Sequence[Probe]) -> Iterator[Answer]:
    """One answer per probe as it is known. A probe asks again and again until it is answered or its time is up."""
    before = overflows()
    for start in range(0, len(probes), AT_ONCE):
        for answer in _together(start, probes[start : start + AT_ONCE]):
            if answer.rtt is None and overflows() > before:
                answer = replace(answer, reason=f"{answer.reason}; {OVERFLOW}")
            yield answer


def _together(start: int, probes: Sequence[Probe]) -> Iterator[Answer]:
    sockets = apart(lambda: _open(probes))
    running: dict[int, _Running] = {}
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        for index, (probe, opened) in enumerate(zip(probes, sockets, strict=True), start):
            if isinstance(opened, str):
                yield Answer(index, None, opened)
                continue
            stack.enter_context(opened)
            running[opened.fileno()] = _Running(index, probe, opened, begun + probe.seconds)
        yield from _converse(running)


def _converse(running: dict[int, _Running]) -> Iterator[Answer]:
    poll = select.poll()
    for fd in running:
        poll.register(fd, select.POLLIN)
    due = 0.0
    while running:
        now = time.monotonic()
        if now >= due:
            for one in running.values():
                one.send(time.monotonic())
            due = now + INTERVAL
        for fd, _ in poll.poll(max(0.0, min(due, _first_end(running)) - time.monotonic()) * 1000):
            rtt = running[fd].received(time.monotonic())
            if rtt is not None:
                yield Answer(running.pop(fd).index, rtt)
                poll.unregister(fd)
        now = time.monotonic()
        for fd in [fd for fd, one in running.items() if now >= one.ends]:
            one = running.pop(fd)
            poll.unregister(fd)
            yield Answer(one.index, None, one.reason)


def _first_end(running: dict[int, _Running]) -> float:
    return min(one.ends for one in running.values())


def _open(probes: Sequence[Probe]) -> list[socket.socket | str]:
    """A raw socket in each probe's namespace, or why there is none. For a thread of its own: it ends elsewhere."""
    opened: list[socket.socket | str] = []
    try:
        for probe in probes:
            pidfd = open_verified(probe.handle)
            if pidfd is None:
                opened.append("the host is not running")
                continue
            try:
                setns(pidfd, CLONE_NEWNET)
            finally:
                os.close(pidfd)
            opened.append(_raw(probe.target.version))
    except BaseException:
        for one in opened:
            if isinstance(one, socket.socket):
                one.close()
        raise
    return opened


def _raw(version: int) -> socket.socket:
    if version == 4:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    else:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setblocking(False)
    return raw
