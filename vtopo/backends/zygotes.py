"""Hosts on request: one zygote or two in parallel, fed a few hosts at a time, and whatever becomes of each."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from vtopo.backends.base import Handle
from vtopo.backends.machine import available_memory
from vtopo.model.kinds import USUAL
from vtopo.values import dataclass

if TYPE_CHECKING:
    import subprocess

CHUNK = 8  # hosts per message
AHEAD = 24  # hosts that one zygote may have in hand
_SPARED = 1 << 22  # bytes of memory to be there for each network namespace that is laid in; it takes 150 KiB
PATIENCE = 30.0  # seconds without any news before the rest is given up


@dataclass(frozen=True, slots=True)
class Order:
    """A host to be made: its namespaces by kind, its maps as in /proc/PID/uid_map, the folder that is its root."""

    id: str
    node: str
    hostname: str
    namespaces: Sequence[str] = USUAL
    uids: str = ""
    gids: str = ""
    rootfs: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """As the zygote wants it, but for its index."""
        return self.node, self.hostname, ",".join(self.namespaces), self.uids, self.gids, self.rootfs


@dataclass(frozen=True, slots=True)
class Born:
    """The host `id` runs."""

    id: str
    handle: Handle


@dataclass(frozen=True, slots=True)
class Stillborn:
    """The host `id` does not."""

    id: str
    reason: str
    errno: int = 0


class ZygoteError(Exception):
    """A zygote cannot be used any more; the text says why."""


@dataclass(slots=True)
class _Zygote:
    process: subprocess.Popen[bytes]
    wire: socket.socket
    base: Path | None = None
    in_hand: set[int] = field(default_factory=set)

    def send(self, *fields: str) -> None:
        try:
            self.wire.send(os.fsencode("\0".join(fields)))
        except (BrokenPipeError, ConnectionResetError):
            while True:  # it has gone; its last message says why
                self.receive()
        except OSError as e:
            raise ZygoteError(f"the process that makes hosts cannot be reached: {e.strerror}") from e

    def receive(self) -> list[str]:
        try:
            message = self.wire.recv(1 << 16)
        except (
            ConnectionResetError
        ):  # it ended with unread requests, and what it had sent comes after this error
            message = self.wire.recv(1 << 16)
        if not message:
            raise ZygoteError(f"the process that makes hosts ended early ({self.end()})")
        fields = os.fsdecode(message).split("\0")
        if fields[0] == "broken":
            raise ZygoteError(fields[2])
        return fields

    def kill(self) -> None:
        """End it now, whatever it is at: what it made of a host that it did not report stays, and bears its marks."""
        self.wire.close()
        self.process.kill()
        _status(self.process, 5)

    def end(self) -> str:
        """How the process ended, in words."""
        status = _status(self.process, 1)
        if status is None:
            return "it closed its socket"
        return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


class Zygotes:
    """The zygotes of one lab, ready long before they are needed: start them first, then parse.

    They end with `close`, or when this process does. Not for use from two threads at once.
    Where so many hosts are `likely`, they make the network namespaces of these meanwhile.
    """

    def __init__(self, lab: str, count: int = 2, likely: int = 0) -> None:
        self.lab = lab
        self._zygotes = [_start(lab) for _ in range(count)]
        if likely:
            # It is not known yet whether the lab is sound: what it might have is not to drown the machine.
            with contextlib.suppress(OSError):
                likely = min(likely, available_memory() // _SPARED)
            for z in self._zygotes:
                with contextlib.suppress(ZygoteError):  # whoever needs it will be told
                    z.send("likely", str(-(-likely // count)))
        self._count = (
            0  # of orders so far: no index is used twice, and late news of a batch given up is known
        )

    @property
    def pids(self) -> frozenset[int]:
        """Their process ids."""
        return frozenset(z.process.pid for z in self._zygotes)

    def close(self) -> None:
        """End them; the hosts stay."""
        for z in self._zygotes:
            z.wire.close()
        for z in self._zygotes:
            if _status(z.process, 2) is None:
                z.process.kill()
                z.process.wait()
        self._zygotes = []

    def __enter__(self) -> Zygotes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(
        self, base: Path, orders: Sequence[Order], groups: Sequence[str] = ()
    ) -> Iterator[Born | Stillborn]:
        """Make hosts with their layers in `base`, the lab's tmpfs; exactly one answer per order, in any order.

        `groups` are pairs of folders: where this process is in a cgroup hierarchy, and where the lab's groups are.
        A process that fails or falls silent is ended, and not used again. A host that it had begun may exist.
        """
        work = _Batch(dict(enumerate(orders, self._count)), groups)
        self._count += len(orders)
        self._renew()
        while work.open:
            if not self._zygotes:
                yield from work.give_up(work.last_error or "no process that makes hosts is left")
                return
            for z in list(self._zygotes):
                try:
                    work.feed(z, base)
                except ZygoteError as e:
                    yield from self._bury(z, work, str(e))
            for z in _readable(self._zygotes):
                try:
                    yield from work.take(z, z.receive())
                except (ZygoteError, OSError) as e:
                    yield from self._bury(z, work, str(e))
            if work.is_stuck:
                for z in list(self._zygotes):
                    reason = f"no answer for {PATIENCE:.0f} s from the process that makes hosts"
                    yield from self._bury(z, work, reason)

    def _renew(self) -> None:
        """Let go of those that have ended: a `down` that went first sweeps, and takes those that wait here for it."""
        for z in [z for z in self._zygotes if z.process.poll() is not None]:
            z.wire.close()
            self._zygotes.remove(z)
        if not self._zygotes:
            self._zygotes = [_start(self.lab)]
        for z in self._zygotes:
            z.in_hand.clear()

    def _bury(self, z: _Zygote, work: _Batch, reason: str) -> Iterator[Stillborn]:
        z.kill()
        self._zygotes.remove(z)
        yield from work.bury(z, reason)


def _status(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """How it ended; None if it has not within some seconds."""
    from subprocess import TimeoutExpired

    try:
        return process.wait(seconds)
    except TimeoutExpired:
        return None


def _start(lab: str) -> _Zygote:
    import subprocess  # late: a lab that is up needs none

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", program_path()],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"VTOPO_LAB": lab},
            cwd="/",
            start_new_session=True,
        )
    return _Zygote(process, ours)


def program_path() -> str:
    """The zygote's program file."""
    return str(Path(__file__).resolve().with_name("zygote.py"))


def _readable(zygotes: Sequence[_Zygote]) -> list[_Zygote]:
    poll = select.poll()
    by_fd = {z.wire.fileno(): z for z in zygotes}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(200)]


class _Batch:
    """The orders of one call: which wait, which are in a zygote's hands, which are answered."""

    def __init__(self, orders: dict[int, Order], groups: Sequence[str]) -> None:
        self.orders = orders
        self.groups = groups
        self.waiting = deque(orders)
        self.open = set(orders)
        self.last_error = ""
        self.news = time.monotonic()

    def feed(self, z: _Zygote, base: Path) -> None:
        """Give a zygote as many hosts as it may have in hand."""
        if z.base != base:
            if z.base is not None:
                raise ZygoteError(f"it works in {z.base} and cannot change to {base}")
            z.send("base", str(base), *self.groups)
            z.base = base
        while self.waiting and len(z.in_hand) + CHUNK <= AHEAD:
            chunk = [self.waiting.popleft() for _ in range(min(CHUNK, len(self.waiting)))]
            z.in_hand.update(chunk)
            fields = [f for i in chunk for f in (str(i), *self.orders[i].fields)]
            z.send("hosts", *fields)

    def take(self, z: _Zygote, message: list[str]) -> Iterator[Born | Stillborn]:
        """What a message from a zygote means."""
        verb, *fields = message
        self.news = time.monotonic()
        if verb == "ready":
            return
        index = int(fields[0])
        if index not in self.open:  # of a batch that was given up
            return
        if verb == "up":
            pid, start, inode = map(int, fields[1:])
            self.open.discard(index)
            z.in_hand.discard(index)
            yield Born(self.orders[index].id, Handle(pid, start, inode))
        else:
            yield from self.fail(z, index, fields[2], int(fields[1]))

    def fail(self, z: _Zygote, index: int, reason: str, errno: int = 0) -> Iterator[Stillborn]:
        """The host is not born, for this reason."""
        if index in self.open:
            self.open.discard(index)
            z.in_hand.discard(index)
            yield Stillborn(self.orders[index].id, reason, errno)

    def bury(self, z: _Zygote, reason: str) -> Iterator[Stillborn]:
        """A zygote is lost: what it had in hand fails, the rest is for the others."""
        self.last_error = reason
        for index in sorted(z.in_hand):
            yield from self.fail(z, index, reason)

    @property
    def is_stuck(self) -> bool:
        """The end of all patience."""
        return time.monotonic() - self.news > PATIENCE

    def give_up(self, reason: str) -> Iterator[Stillborn]:
        """Nothing more will come."""
        for index in sorted(self.open):
            yield Stillborn(self.orders[index].id, reason)
        self.open.clear()
        self.waiting.clear()
