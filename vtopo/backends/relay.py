"""Stands for a process that Docker runs in a container: with its output, its exit status, and the signals for it.

The supervisor forks one for each. It goes by Docker's own `exec`, so that what runs there has no more rights than the
container gives it.
"""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as the lab.

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from typing import Any

from vtopo.backends.engine_wire import ask, send

KILL = signal.SIGUSR1
"""Ends the process in the container by SIGKILL, as SIGKILL itself cannot be passed on."""

_FRAME = struct.Struct(">BxxxI")  # stream and size; Engine API, ContainerAttach, "Stream format"
_ENDING = 5.0  # seconds from the end of the output until the engine knows how the process ended
_NOT_STARTED = 125


class Relay:
    """One command in a container, told of on file descriptor 1; a byte to `begun` says that it runs, or has ended."""

    def __init__(self, engine: str, container: str, argv: list[str], env: dict[str, str], begun: int) -> None:
        self.engine = engine
        self.container = container
        self.argv = argv
        self.env = [f"{key}={value}" for key, value in env.items()]
        self.begun = begun
        self.id = ""
        self.killed = False
        self.signalled = -1

    def run(self) -> int:
        """Run it to its end; its exit status, or 125 if it could not be started."""
        # A handler that is due just before a blocking call would wait for its end: `copy` waits for the pipe, too.
        self.signalled, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, KILL):
            signal.signal(number, self.pass_on)
        try:
            asked = {"AttachStdout": True, "AttachStderr": True, "Cmd": self.argv, "Env": self.env}
            self.id = str(ask(self.engine, "POST", f"/containers/{self.container}/exec", asked)["Id"])
            start = {"Detach": False, "Tty": False}
            wire, data = send(self.engine, "POST", f"/exec/{self.id}/start", start)
            wire.settimeout(None)
            with wire:
                self.wait_for_begin()
                if self.killed:
                    self.pass_on(KILL, None)
                self.copy(wire, data)
            return self.status()
        except OSError as e:
            os.write(1, f"vtopo: {e.strerror or e}\n".encode())
            return _NOT_STARTED

    def wait_for_begin(self) -> None:
        """Wait until the engine has started it: it says that it runs before it does."""
        while (told := self.told()).get("Running") and not told.get("Pid"):
            time.sleep(0.02)
        os.write(self.begun, b".")
        os.close(self.begun)

    def copy(self, wire: socket.socket, data: bytes) -> None:
        """Its output, until all that has it open has ended."""
        poll = select.poll()
        for fd in (wire.fileno(), self.signalled):
            poll.register(fd, select.POLLIN)
        while True:
            while len(data) >= _FRAME.size:
                _, size = _FRAME.unpack_from(data)
                if len(data) < _FRAME.size + size:
                    break
                write(self.plain(data[_FRAME.size : _FRAME.size + size]))
                data = data[_FRAME.size + size :]
            ready = [fd for fd, _ in poll.poll()]
            if self.signalled in ready:
                os.read(self.signalled, 64)
            if wire.fileno() not in ready:
                continue
            part = wire.recv(1 << 16)
            if not part:
                return
            data += part

    def plain(self, text: bytes) -> bytes:
        """The engine's own words where it could not start the command; all else as it is."""
        if not text.startswith(b"OCI runtime exec failed"):
            return text
        reason = text.strip().removesuffix(b": unknown").rpartition(b": ")[2]
        missing = b"not found" in reason
        words = b"command not found" if missing else reason
        return b"vtopo: %s: %s\n" % (self.argv[0].encode(errors="replace"), words)

    def status(self) -> int:
        """Its exit status, as soon as the engine knows."""
        end = time.monotonic() + _ENDING
        while (told := self.told()).get("Running") and time.monotonic() < end:
            time.sleep(0.02)
        status = told.get("ExitCode")
        return int(status) if isinstance(status, int) and 0 <= status < 256 else _NOT_STARTED

    def told(self) -> dict[str, Any]:
        """What the engine tells of it; that it does not run where it tells nothing."""
        try:
            told = ask(self.engine, "GET", f"/exec/{self.id}/json")
        except OSError:  # it went with its container
            return {"Running": False, "ExitCode": 128 + signal.SIGKILL}
        return told if isinstance(told, dict) else {}

    def pass_on(self, number: int, _frame: object) -> None:
        """SIGTERM, or SIGKILL where we got KILL, to it and what it started in its session."""
        self.killed = self.killed or number == KILL
        told = self.told() if self.id else {}
        if told.get("Running") and (pid := int(told.get("Pid") or 0)):
            real = signal.SIGKILL if number == KILL else number
            for end in (os.killpg, os.kill):
                try:
                    end(pid, real)
                except OSError:
                    continue
                return


def write(data: bytes) -> None:
    """All of it, to where the supervisor reads."""
    while data:
        data = data[os.write(1, data) :]
