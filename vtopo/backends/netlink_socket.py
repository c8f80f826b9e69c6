"""A plain AF_NETLINK socket: batches of requests with an answer to each, and dumps."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

from vtopo.values import dataclass

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_ACK, _NLM_F_CAPPED, _NLM_F_ACK_TLVS, _NLM_F_DUMP_INTR = 0x4, 0x100, 0x200, 0x10
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_BATCH = 32  # requests per send: their answers fit into a socket's receive buffer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said to a request: `errno` is 0 if it was carried out; `text` explains, or is empty."""

    errno: int
    text: str = ""

    def __str__(self) -> str:
        words = os.strerror(self.errno)
        return f"{words}: {self.text}" if self.text else words


class NetlinkSocket:
    """A socket to the namespace in which its maker's thread was; it may be used from anywhere."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self._tells_why = False

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def request(self, messages: Sequence[bytes]) -> list[Answer]:
        """Send requests; the kernel goes on after one that fails, and each gets its own answer."""
        self._have_it_tell_why()
        answers: list[Answer] = []
        for i in range(0, len(messages), _BATCH):
            answers += self._batch(messages[i : i + _BATCH])
        return answers

    def _have_it_tell_why(self) -> None:
        """From now on the kernel says in words why it refuses a request, without repeating that; dumps do without."""
        if not self._tells_why:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._tells_why = True

    def _batch(self, messages: Sequence[bytes]) -> list[Answer]:
        first = self._sequence + 1
        self._sequence += len(messages)
        numbered = [
            b"".join((m[:8], struct.pack("=I", seq), m[12:])) for seq, m in enumerate(messages, first)
        ]
        self._socket.send(b"".join(numbered))
        answers: list[Answer | None] = [None] * len(messages)
        left = len(messages)
        while left:
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, flags, seq, _ = _HEADER.unpack_from(data, offset)
                if (
                    kind == _NLMSG_ERROR
                    and first <= seq < first + len(messages)
                    and answers[seq - first] is None
                ):
                    answers[seq - first] = _answer(data, offset, length, flags)
                    left -= 1
                offset += (length + 3) & ~3
        return [a for a in answers if a is not None]

    def transaction(self, messages: Sequence[bytes]) -> Answer:
        """Send messages, the first and the last of which enclose all or nothing; the first refusal, if any.

        Refusals are told in the order of the messages, and one of the whole at its beginning, so that a single
        acknowledgement is asked for: of what stands before the end.
        """
        self._have_it_tell_why()
        first, last = self._sequence + 1, self._sequence + len(messages) - 1
        self._sequence += len(messages)
        numbered = [
            b"".join((m[:8], struct.pack("=I", seq), m[12:])) for seq, m in enumerate(messages, first)
        ]
        flags = struct.unpack_from("=H", numbered[-2], 6)[0] | _NLM_F_ACK
        numbered[-2] = b"".join((numbered[-2][:6], struct.pack("=H", flags), numbered[-2][8:]))
        self._socket.send(b"".join(numbered))
        refused: Answer | None = None
        while True:
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, flags, seq, _ = _HEADER.unpack_from(data, offset)
                if kind == _NLMSG_ERROR and first <= seq <= last + 1:
                    answer = _answer(data, offset, length, flags)
                    refused = refused or (answer if answer.errno else None)
                    if seq in (first, last):
                        return refused or answer
                offset += (length + 3) & ~3

    def dump(self, request: bytes) -> Iterator[tuple[bytes, int, int]]:
        """The messages of a dump: (buffer, where its payload starts, where it ends).

        An OSError if the kernel refuses; a dump that a change interrupted is taken again.
        """
        for _ in range(10):
            parts, interrupted = self._dump_once(request)
            if not interrupted:
                break
        yield from parts

    def _dump_once(self, request: bytes) -> tuple[list[tuple[bytes, int, int]], bool]:
        self._sequence += 1
        self._socket.send(b"".join((request[:8], struct.pack("=I", self._sequence), request[12:])))
        parts: list[tuple[bytes, int, int]] = []
        interrupted = False
        while True:
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, flags, seq, _ = _HEADER.unpack_from(data, offset)
                if seq == self._sequence:
                    interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                    if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                        if code := -struct.unpack_from("=i", data, offset + 16)[0]:
                            raise OSError(code, os.strerror(code))
                        return parts, interrupted
                    parts.append((data, offset + 16, offset + length))
                offset += (length + 3) & ~3


def _answer(data: bytes, offset: int, length: int, flags: int) -> Answer:
    code, inner = struct.unpack_from("=iI", data, offset + 16)
    if code == 0 or not flags & _NLM_F_ACK_TLVS:
        return Answer(-code)
    at = offset + 20 + (16 if flags & _NLM_F_CAPPED else inner)
    while at + 4 <= offset + length:
        size, kind = struct.unpack_from("=HH", data, at)
        if kind == _NLMSGERR_ATTR_MSG:
            return Answer(-code, data[at + 4 : at + size].rstrip(b"\0").decode(errors="replace"))
        at += (max(size, 4) + 3) & ~3
    return Answer(-code)
