"""Talks with a lab's supervisor: starts it, asks it for daemons and commands, and hears what became of them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.processes import identity, netns_inode
from vtopo.values import dataclass

SOCKET = "supervisor"
LOGS = "logs"
_STARTING = 10.0  # seconds that a supervisor may take to get ready
_Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Order:
    """A daemon or command for the host behind `handle`; `log` is its log's path below the logs' folder.

    In a container it is run by the engine that listens at `engine`, which calls it `container`.
    """

    key: str
    handle: Handle
    argv: Sequence[str]
    env: Mapping[str, str]
    log: str
    cgroups: Sequence[str] = ()
    timeout: float = 0.0
    container: str = ""
    engine: str = ""

    def request(self, verb: str) -> _Json:
        """As the supervisor wants it."""
        return {
            "do": verb,
            "key": self.key,
            "pid": self.handle.pid,
            "start": self.handle.start,
            "argv": list(self.argv),
            "env": dict(self.env),
            "log": self.log,
            "cgroups": list(self.cgroups),
            "timeout": self.timeout,
            "container": self.container,
            "engine": self.engine,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order: `status` is a command's exit status, `output` the end of what it printed."""

    key: str
    done: bool
    reason: str = ""
    status: int = 0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """How a daemon is: `state` is running, waiting (it ended, and starts again in `wait` seconds) or held.

    `seconds` is how long it runs, `exits` how often it has ended, `last` how it ended the last time.
    """

    key: str
    state: str
    handle: Handle
    pid: int
    seconds: float
    wait: float
    exits: int
    last: str


def program_path() -> str:
    """The supervisor's program file."""
    return str(Path(__file__).resolve().with_name("supervisor.py"))


def start(lab: str, folder: Path) -> Handle:
    """Start the supervisor of a lab whose tmpfs is `folder`; it lives on after this process."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", program_path(), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"VTOPO_LAB": lab},
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as out:
        poll = select.poll()
        poll.register(out, select.POLLIN)
        ready = poll.poll(_STARTING * 1000) and out.read(5) == b"ready"
    seen = identity(process.pid)
    if not ready or seen is None:
        process.kill()
        process.wait()
        raise OSError(errno.ECHILD, "the supervisor of the hosts' processes did not start")
    process.returncode = 0  # it is nobody's child any more once this process ends; nobody waits for it here
    return Handle(process.pid, seen[1], netns_inode(process.pid))


@dataclass(slots=True)
class Line:
    """A connection to a supervisor. Closing it ends the commands that were asked for on it."""

    wire: socket.socket
    _incoming: bytes = b""
    _answers: deque[_Json] = field(default_factory=deque)

    @classmethod
    def open(cls, folder: Path) -> Line:
        """To the supervisor of the lab whose tmpfs is `folder`; BackendError if there is none."""
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(folder, os.O_PATH | os.O_CLOEXEC) if folder.is_dir() else -1
        try:
            wire.connect(f"/proc/self/fd/{here}/{SOCKET}")  # a socket's path has at most 107 bytes
        except OSError as e:
            wire.close()
            raise BackendError(
                f"the supervisor of the hosts' processes cannot be reached: {e.strerror}"
            ) from e
        finally:
            if here >= 0:
                os.close(here)
        return cls(wire)

    def close(self) -> None:
        """Hang up."""
        self.wire.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def order(self, verb: str, orders: Sequence[Order]) -> None:
        """Ask for daemons (`run`) or commands (`once`); each gets one answer."""
        self._send([order.request(verb) for order in orders])

    def change(self, verb: str, keys: Sequence[str]) -> None:
        """Ask to `hold`, `resume` or `end` daemons; each gets one answer."""
        self._send([{"do": verb, "keys": list(keys)}])

    def jobs(self) -> Sequence[Job]:
        """All daemons."""
        self._send([{"do": "list"}])
        message = self._receive(time.monotonic() + _STARTING)
        if message is None:
            raise BackendError("the supervisor of the hosts' processes does not answer")
        found = message["jobs"]
        assert isinstance(found, list)
        return [_job(each) for each in found]

    def watches(self) -> bool:
        """Whether the supervisor watches an engine."""
        self._send([{"do": "list"}])
        message = self._receive(time.monotonic() + _STARTING)
        return message is not None and bool(message.get("watches"))

    def watch(self, lab: str, engine: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Have the supervisor watch the engine at a socket, or none, and start a program when one restarts."""
        self._send([{"do": "watch", "lab": lab, "engine": engine, "argv": list(argv), "env": dict(env)}])
        if self._receive(time.monotonic() + _STARTING) is None:
            raise BackendError("the supervisor of the hosts' processes does not answer")

    def answer(self, until: float) -> Answer | None:
        """The next answer; None if none has come by the time `until` of the monotonic clock."""
        message = self._receive(until)
        if message is None:
            return None
        key, reason, output = (str(message.get(name, "")) for name in ("key", "reason", "output"))
        status = message.get("status", 0)
        assert isinstance(status, int)
        return Answer(key, bool(message.get("done")), reason, status, output)

    def _send(self, messages: Sequence[_Json]) -> None:
        """Send all, reading meanwhile, so that neither side waits for the other."""
        data = memoryview(b"".join(json.dumps(m).encode() + b"\n" for m in messages))
        poll = select.poll()
        poll.register(self.wire, select.POLLIN | select.POLLOUT)
        while data:
            for _, events in poll.poll():
                if events & select.POLLIN:
                    self._read()
                if events & (select.POLLHUP | select.POLLERR):
                    raise _gone()
                if events & select.POLLOUT:
                    with contextlib.suppress(BlockingIOError):
                        data = data[self.wire.send(data, socket.MSG_DONTWAIT) :]

    def _receive(self, until: float) -> _Json | None:
        poll = select.poll()
        poll.register(self.wire, select.POLLIN)
        while not self._answers:
            left = until - time.monotonic()
            if not poll.poll(max(left, 0) * 1000):
                return None
            self._read()
        return self._answers.popleft()

    def _read(self) -> None:
        try:
            data = self.wire.recv(1 << 18)
        except OSError as e:
            raise _gone() from e
        if not data:
            raise _gone()
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        self._answers += [json.loads(line) for line in lines]


def _gone() -> BackendError:
    return BackendError("the supervisor of the hosts' processes ended")


def _job(message: Mapping[str, Any]) -> Job:
    host = Handle(message["host"], message["host_start"])
    names = ("key", "state", "pid", "seconds", "wait", "exits", "last")
    return Job(handle=host, **{name: message[name] for name in names})
