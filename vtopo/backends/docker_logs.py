"""The logs of containers: of daemons as the supervisor keeps them, of their own programs as Docker does."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from vtopo.backends import docker_engine, engine_wire
from vtopo.backends.base import BackendError
from vtopo.backends.docker_engine import endpoint
from vtopo.backends.docker_marks import container_name
from vtopo.backends.logs import Logs

MAIN = "main"
"""The name of the log of a container's own program."""
_AGAIN = 1.0  # seconds until a container that has stopped is asked again whether it says more


class ContainerLogs(Logs):
    """The logs of the containers of one lab; BackendError where Docker cannot tell what it was told to keep."""

    def __init__(self, lab: str, folder: Path) -> None:
        super().__init__(folder)
        self._lab = lab

    def names(self, node: str) -> Sequence[str]:
        """The container's own program comes first."""
        return [MAIN, *(name for name in super().names(node) if name != MAIN)]

    def data(self, node: str, name: str) -> bytes:
        """All that is kept; a terminal's ends of lines as everywhere else."""
        return self._said(node) if name == MAIN else super().data(node, name)

    def _said(self, node: str, more: str = "") -> bytes:
        try:
            return _plain(engine_wire.read(endpoint().path, "GET", self._target(node, more)))
        except OSError as e:
            if e.errno == 404:
                return b""
            raise BackendError(f"Docker does not show what {node} has printed: {e.strerror or e}") from e

    def contains(self, node: str, text: str, since: dict[str, int]) -> bool:
        """Whether one of its logs has `text`: that of its own program since it was started last."""
        told = docker_engine.ask(f"/containers/{urllib.parse.quote(container_name(self._lab, node))}/json")
        if told is not None:
            started = datetime.fromisoformat(told["State"]["StartedAt"]).timestamp()
            if text.encode() in self._said(node, f"&since={started:.9f}"):
                return True
        return super().contains(node, text, {MAIN: sys.maxsize, **since})

    def last(self, node: str, count: int) -> Sequence[str]:
        """The last lines of its daemons; if there are none, of its own program."""
        return super().last(node, count) or self.text(node, MAIN).splitlines()[-count:]

    def _target(self, node: str, more: str = "") -> str:
        name = urllib.parse.quote(container_name(self._lab, node))
        return f"/containers/{name}/logs?stdout=1&stderr=1{more}"

    def follow(self, node: str) -> Iterator[tuple[str, bytes]]:
        """New output as it comes, from all of them."""
        daemons = super().follow(node)
        main = self._follow_main(node)
        while True:
            name, piece = next(daemons)
            said = next(main)
            if said:
                yield MAIN, said
            if piece or not said:
                yield name, piece

    def _follow_main(self, node: str) -> Iterator[bytes]:
        """New output of its own program, across its ends; empty pieces while there is none."""
        since = ""
        while True:
            with contextlib.suppress(OSError), contextlib.ExitStack() as held:
                target = self._target(node, f"&follow=1{since or '&tail=0'}")
                wire, start = engine_wire.send(endpoint().path, "GET", target)
                held.enter_context(wire)
                yield _plain(start)
                yield from _pieces(wire)
            since = f"&since={time.time():.9f}"
            again = time.monotonic() + _AGAIN
            while time.monotonic() < again:
                yield b""


def _pieces(wire: socket.socket) -> Iterator[bytes]:
    wire.setblocking(False)
    while True:
        try:
            piece = wire.recv(1 << 16)
        except BlockingIOError:
            yield b""
            continue
        if not piece:
            return
        yield _plain(piece)


def _plain(said: bytes) -> bytes:
    return said.replace(b"\r\n", b"\n")
