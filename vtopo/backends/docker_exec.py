"""Commands in a container as docker(1) runs them, with the caller's terminal, signals and exit status."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence

from vtopo.backends import docker_engine
from vtopo.backends.base import BackendError
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import Refused, words
from vtopo.backends.enter import NOT_ENTERED, NOT_EXECUTABLE, NOT_FOUND
from vtopo.backends.forwarding import forwarded

_FRAME = struct.Struct(">BxxxI")  # stream and size; Engine API, ContainerAttach, "Stream format"


def run_in_container(name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Run a command with this process' own stdin, stdout and stderr; its exit status.

    127: not found; 126: not executable; 125: it could not be started. BackendError if the container does not run.
    On a terminal its keys and its size are passed on, otherwise SIGTERM and the like are.
    """
    client = docker_engine.connect()
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    kept = {key: value for key in ("TERM",) if tty and (value := os.environ.get(key))}
    sys.stdout.flush()
    try:
        with words():
            made = client.exec_create(
                name, list(argv), tty=tty, stdin=True, environment={**kept, **(env or {})}
            )
            started = client.exec_start(made["Id"], tty=tty, socket=True)
    except Refused as e:
        raise BackendError(
            f"the container {name}: {e}; `vtopo status` tells, and `vtopo up` starts it"
        ) from e
    with contextlib.closing(getattr(started, "_sock", started)) as sock:
        if tty:
            with _raw_terminal(), _size_kept(client, made["Id"]):
                said = _converse(sock, framed=False)
        else:
            with _passing_on(client, made["Id"]):
                said = _converse(sock, framed=True)
    with words():
        status = client.exec_inspect(made["Id"])["ExitCode"]
    if status in (NOT_FOUND, NOT_EXECUTABLE) and not tty and b"OCI runtime exec failed" in said:
        print(f"vtopo: {docker_engine.plain(said.decode(errors='replace'))}", file=sys.stderr)
    return NOT_ENTERED if status is None else int(status)


def _converse(sock: socket.socket, *, framed: bool) -> bytes:
    """Pass on what comes from either side until the command's ends; what could not be a command's own words."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(0, select.POLLIN)
    pending = b""
    said = b""
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                if data := os.read(0, 1 << 16):
                    with contextlib.suppress(OSError):
                        sock.sendall(data)
                else:
                    poll.unregister(0)
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_WR)
                continue
            data = sock.recv(1 << 16)
            if not data:
                return said
            if not framed:
                _write(1, data)
                continue
            pending += data
            while len(pending) >= _FRAME.size:
                stream, size = _FRAME.unpack_from(pending)
                if len(pending) < _FRAME.size + size:
                    break
                text = pending[_FRAME.size : _FRAME.size + size]
                pending = pending[_FRAME.size + size :]
                if text.startswith(b"OCI runtime exec failed"):
                    said += text
                else:
                    _write(2 if stream == 2 else 1, text)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the command, as it is."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _size_kept(client: Client, id_: str) -> Iterator[None]:
    """The command's terminal is as large as this one, whatever becomes of it."""

    def resize() -> None:
        columns, lines = shutil.get_terminal_size()
        with contextlib.suppress(Refused, BackendError), words():
            client.exec_resize(id_, height=lines, width=columns)

    with forwarded(lambda _: resize(), (signal.SIGWINCH,)):
        resize()
        yield


@contextlib.contextmanager
def _passing_on(client: Client, id_: str) -> Iterator[None]:
    """Signals to this process go to the command, which Docker tells the pid of on this machine."""

    def send(number: int) -> None:
        with contextlib.suppress(Refused, BackendError, ProcessLookupError), words():
            if pid := int(client.exec_inspect(id_).get("Pid") or 0):
                os.kill(pid, number)

    with forwarded(send):
        yield
