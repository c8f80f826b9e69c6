"""Listens on interfaces of a lab: a packet(7) socket in each one's namespace, and the interface stays as it is.

No interface becomes promiscuous: a veth hands over all that it gets, whoever it is for.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from vtopo.backends import names
from vtopo.backends.base import BackendError, Handle
from vtopo.backends.pcap_filter import Filter, compiled
from vtopo.backends.places import Places, place_name
from vtopo.backends.processes import is_alive
from vtopo.backends.threads import apart
from vtopo.packets.frame import ETHERNET, RAW_IP, Frame, Tapped
from vtopo.packets.pcapng import LONGEST
from vtopo.values import dataclass

# linux/if_packet.h, linux/if_arp.h, linux/sockios.h, asm-generic/socket.h
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 6, 8, 4
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 35, 26, 33
_SIOCGIFNAME, _SIOCGIFHWADDR = 0x8910, 0x8927
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ARPHRD_OF_IP = frozenset((768, 769, 776, 778, 65534))  # tunnels and tun devices: no header before IP's
_VLAN_VALID, _TPID_VALID = 1 << 4, 1 << 6

_AUXDATA = struct.Struct("=IIIHHHH")
_TIMESPEC = struct.Struct("@ll")
_BUFFER = 8 << 20  # bytes that may wait for us, an interface
_AT_ONCE = 256  # frames of one interface, before the others have their turn
_LOOK = 0.5  # seconds between two looks at whether the nodes are still there
_QUEUEING = (
    1_000_000  # ns from a frame's time stamp till its socket has it, at most, on a machine that is not halted
)


@dataclass(frozen=True, slots=True)
class Spot:
    """An interface: its full name in the lab, the id of its namespace's resource, its name there."""

    name: str
    netns: str
    device: str


@dataclass(slots=True)
class _Wire:
    tap: Tapped
    socket: socket.socket
    netns: str
    index: int
    is_loopback: bool
    received: int = 0
    dropped: int = 0


class Wires:
    """Open sockets on interfaces; their numbers are their places in `taps`."""

    def __init__(self, lab: str, spots: Sequence[Spot], handles: Mapping[str, Handle], filter: str) -> None:
        """BackendError if an interface is not there, or the filter is none."""
        self._lab = lab
        self._handles = handles
        self._filters: dict[int, Filter] = {}
        self._text = filter
        self._wires: list[_Wire] = []
        self._buffer = bytearray(LONGEST)
        self.gone: list[str] = []
        places = Places(lab)
        places.renew(handles)
        try:
            apart(lambda: self._open_all(places, spots))
        except BaseException:
            self.close()
            raise
        finally:
            places.close()
        self.taps = tuple(wire.tap for wire in self._wires)
        self._open = dict(enumerate(self._wires))

    def close(self) -> None:
        """Stop listening; the namespaces are no longer held."""
        for wire in self._wires:
            wire.socket.close()

    def _open_all(self, places: Places, spots: Sequence[Spot]) -> None:
        for spot in spots:
            try:
                places.enter(spot.netns)
                self._wires.append(self._wire(spot))
            except OSError as e:
                if e.errno == errno.ENODEV:
                    node = place_name(spot.netns)
                    raise BackendError(f"`{node}` has no interface {spot.device} now") from e
                raise BackendError(f"{spot.name}: {e.strerror}") from e

    def _wire(self, spot: Spot) -> _Wire:
        # Protocol 0: nothing comes before the filter is there.
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            hardware = struct.unpack_from("16xH", _ioctl(raw, _SIOCGIFHWADDR, _ifreq(spot.device)))[0]
            tap = Tapped(spot.name, spot.device, _link_type(spot, hardware))
            if (filter := self._filter(tap.link_type)) is not None and filter.in_kernel:
                _attach(raw, filter.instructions)
            _widen(raw)
            raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            raw.bind((spot.device, _ETH_P_ALL))
            raw.setblocking(False)
            index = socket.if_nametoindex(spot.device)
        except BaseException:
            raw.close()
            raise
        return _Wire(tap, raw, spot.netns, index, hardware == _ARPHRD_LOOPBACK)

    def _filter(self, link_type: int) -> Filter | None:
        if not self._text:
            return None
        if link_type not in self._filters:
            self._filters[link_type] = compiled(self._text, link_type, LONGEST)
        return self._filters[link_type]

    def batches(self, until: float | None, *wake: int) -> Iterator[list[Frame]]:
        """What has come, in the order of time, as soon as it has come; now and then nothing.

        It ends when the last interface is gone, at `until` on the steady clock, or when something can be read from
        one of `wake`, or its reader is gone. An interface that is gone stands in `gone` from then on.
        """
        poll = select.poll()
        for wire in self._open.values():
            poll.register(wire.socket, select.POLLIN)
        for fd in wake:
            poll.register(fd, select.POLLIN if _is_readable(fd) else 0)
        looked = time.monotonic()
        held: list[Frame] = []
        while self._open:
            left = _LOOK if until is None else min(until - time.monotonic(), _LOOK)
            # Of this and before, all has been queued by the time that the sockets are asked who has something.
            horizon = time.time_ns() - _QUEUEING
            ready = {fd for fd, _ in poll.poll(max(min(left, _QUEUEING / 1e9) if held else left, 0) * 1000)}
            if time.monotonic() - looked >= _LOOK:
                self._look()
                looked = time.monotonic()
            frames, held = self._turn(ready, held, horizon)
            for number in [n for n in self._open if self._wires[n].tap.name in self.gone]:
                poll.unregister(self._wires[number].socket)
                self._open.pop(number).socket.close()
            yield frames
            if not ready.isdisjoint(wake) or (until is not None and time.monotonic() >= until):
                yield held
                return
        yield held

    def _turn(self, ready: set[int], held: list[Frame], horizon: int) -> tuple[list[Frame], list[Frame]]:
        """What has come and comes before all that is still to be read, in order; and what has come, and may not.

        Nothing that is still to come is of `horizon` or before.
        """
        for number, wire in self._open.items():
            if wire.socket.fileno() in ready:
                frames = list(self._read(number, wire))
                held += frames
                if len(frames) == _AT_ONCE:
                    horizon = min(horizon, frames[-1].at)
        held.sort(key=lambda frame: frame.at)
        due = bisect.bisect_right(held, horizon, key=lambda frame: frame.at)
        return held[:due], held[due:]

    def _lose(self, wire: _Wire) -> None:
        if wire.tap.name not in self.gone:
            self.gone.append(wire.tap.name)

    def _read(self, number: int, wire: _Wire) -> Iterator[Frame]:
        view = memoryview(self._buffer)
        filter = self._filter(wire.tap.link_type)
        for _ in range(_AT_ONCE):
            try:
                size, more, _, source = wire.socket.recvmsg_into([view], 256)
            except BlockingIOError:
                return
            except OSError as e:
                # It went down, or away; a socket hears of the one as of the other, and again once it is up.
                if e.errno != errno.ENETDOWN or not _is_there(wire):
                    self._lose(wire)
                    return
                continue
            is_sent = source[2] == _PACKET_OUTGOING
            if is_sent and wire.is_loopback:
                continue  # the same packet is received a moment later
            at, tag = _told_beside(more)
            data = bytes(view[:size])
            if tag:
                data = data[:12] + tag + data[12:]
            if filter is None or filter.in_kernel or filter.takes(data):
                yield Frame(at, number, is_sent, data)

    def _look(self) -> None:
        """A namespace lives as long as a socket in it: whose node is gone must be let go of."""
        is_there: dict[str, bool] = {}
        for wire in self._open.values():
            if wire.netns not in is_there:
                is_there[wire.netns] = self._has(wire.netns)
            if not is_there[wire.netns] or not _is_there(wire):
                self._lose(wire)

    def _has(self, netns: str) -> bool:
        handle = self._handles.get(netns, Handle())
        if handle.pid is not None:
            return is_alive(handle)
        inodes = (names.inode(name) for name in names.of_lab(self._lab))
        return any(inode is not None and handle.inode in (None, inode) for inode in inodes)

    def statistics(self) -> list[tuple[int, int]]:
        """Of each interface, how many frames came through the filter, and how many of them there was no room for."""
        for wire in self._open.values():
            with contextlib.suppress(OSError):
                both = wire.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # and counts from 0 again
                received, dropped = struct.unpack("=II", both)
                wire.received += received
                wire.dropped += dropped
        return [(wire.received, wire.dropped) for wire in self._wires]


def _is_readable(fd: int) -> bool:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def _ifreq(device: str) -> bytes:
    return device.encode().ljust(40, b"\0")


def _ioctl(sock: socket.socket, request: int, argument: bytes) -> bytes:
    return fcntl.ioctl(sock, request, argument)


def _is_there(wire: _Wire) -> bool:
    """Whether the interface itself is, asked of the socket's own namespace."""
    try:
        _ioctl(wire.socket, _SIOCGIFNAME, struct.pack("16xi20x", wire.index))
    except OSError:
        return False
    return True


def _link_type(spot: Spot, hardware: int) -> int:
    if hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
        return ETHERNET
    if hardware in _ARPHRD_OF_IP:
        return RAW_IP
    raise BackendError(f"{spot.name} carries neither Ethernet nor IP (hardware type {hardware})")


def _attach(sock: socket.socket, instructions: bytes) -> None:
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HP", len(instructions) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _widen(sock: socket.socket) -> None:
    """Room for what comes while we write; past the machine's own bound where we may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)


def _told_beside(messages: Sequence[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """When a frame came, in ns since 1970, and the VLAN tag that the kernel took off it."""
    at, tag = 0, b""
    for level, kind, data in messages:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            at = seconds * 1_000_000_000 + nanoseconds
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & _TPID_VALID else 0x8100, tci)
    return at or time.time_ns(), tag
