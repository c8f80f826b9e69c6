"""Sees in a Docker engine's events that a container was started anew, and starts the program that plugs it in again."""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as the lab.

from __future__ import annotations

import json
import os
import signal
import time

from vtopo.backends.engine_wire import send

_SETTLE = 0.1  # seconds from an event till the program is started: containers seldom come alone
_AGAIN = (
    2.0  # seconds till an engine that went away is looked for, or a program that failed is started once more
)
_PATIENCE = 2.0  # seconds that an engine may take to answer; daemons wait as long
_TRIES = 3
_DEFAULT = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD)


class Watch:
    """One connection for events of a lab's containers. `fd` is to be polled for input; below 0 there is none now.

    A first start is the affair of whoever made the container; only one after an end counts. What happened while no
    engine answered is not known, so the program is started when one answers again.
    """

    def __init__(self, engine: str, lab: str, argv: list[str], env: dict[str, str]) -> None:
        self.engine = engine
        self.argv = argv
        self.env = env
        wanted = {"label": [f"vtopo.lab={lab}"], "type": ["container"], "event": ["die", "start", "destroy"]}
        quoted = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in json.dumps(wanted))
        self.target = f"/events?filters={quoted}"
        self.fd = -1
        self.incoming = b""
        self.ended: set[str] = set()
        self.missed = False
        self.look = 0.0  # when to look for the engine
        self.due: float | None = None  # when to start the program
        self.tries = 0
        self.pid = 0

    def wait_until(self) -> float | None:
        """When something is due, by the monotonic clock."""
        times = [self.look] if self.fd < 0 else []
        times += [self.due] if self.due is not None and not self.pid else []
        return min(times) if times else None

    def on_time(self, now: float) -> None:
        """Do what is due."""
        if self.fd < 0 and now >= self.look:
            self.connect(now)
        if self.due is not None and now >= self.due and not self.pid:
            self.due = None
            actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
            self.pid = os.posix_spawn(
                self.argv[0], self.argv, self.env, file_actions=actions, setsid=True, setsigdef=_DEFAULT
            )

    def connect(self, now: float) -> None:
        """Ask for events from now on."""
        try:
            wire, self.incoming = send(self.engine, "GET", self.target, patience=_PATIENCE)
        except (OSError, ValueError):
            self.look = now + _AGAIN
            self.missed = True
            return
        wire.setblocking(False)
        self.fd = wire.detach()
        if self.missed:
            self.missed = False
            self.due = now + _SETTLE

    def hear(self) -> None:
        """Read what has come."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os.close(self.fd)
            self.fd = -1
            self.missed = True
            self.look = time.monotonic() + _AGAIN
            return
        *lines, self.incoming = (self.incoming + data).split(b"\n")
        for line in filter(None, lines):
            try:
                event = json.loads(line)
                self.heed(str(event["Action"]), str(event["Actor"]["ID"]))
            except (ValueError, KeyError, TypeError):
                continue

    def heed(self, what: str, container: str) -> None:
        """One event."""
        if what == "die":
            self.ended.add(container)
        elif what == "destroy":
            self.ended.discard(container)
        elif what == "start" and container in self.ended:
            self.ended.discard(container)
            self.due = time.monotonic() + _SETTLE
            self.tries = 0

    def reaped(self, pid: int, code: int) -> None:
        """A child has ended; if it was the program and that failed, it is tried again."""
        if pid == self.pid:
            self.pid = 0
            self.tries += 1
            if code and self.due is None and self.tries < _TRIES:
                self.due = time.monotonic() + _AGAIN
