"""Waits until hosts are ready: something listens, a command succeeds, or a daemon has said so."""

from __future__ import annotations

import dataclasses
import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome
from vtopo.backends.processes import is_alive
from vtopo.backends.supervision import Line
from vtopo.compile.resources import Ready

if TYPE_CHECKING:
    from vtopo.backends.life import LifeBackend

_EVERY = 0.05  # seconds between two looks
_AGAIN = 0.2  # seconds after which a command that failed is tried again
_LINES = 10  # of a host's logs in the message of a failure
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp (proc_net_tcp.rst)
_LOG = "ready"  # the log of the commands that ask


class Waiting:
    """Some hosts' conditions, and when each one's time is up."""

    def __init__(
        self,
        life: LifeBackend,
        batch: Sequence[Ready],
        handles: Mapping[str, Handle],
        since: Mapping[str, int],
    ) -> None:
        self._life = life
        self._stop = life.watch.stop
        self._todo = {r.id: r for r in batch}
        self._handles = handles
        self._since = since
        begun = time.monotonic()
        self._ends = {r.id: begun + r.milliseconds / 1000 for r in batch}
        self._asked: set[str] = set()
        self._again: dict[str, float] = {}
        self._seen: dict[str, str] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """One for each, as soon as it is known."""
        line = None
        try:
            if any(r.condition == "command" for r in self._todo.values()):
                line = Line.open(self._life.scratch.path)
            while self._todo:
                now = time.monotonic()
                for r in list(self._todo.values()):
                    if (outcome := self._look(r, now)) is not None:
                        del self._todo[r.id]
                        yield outcome
                if not self._todo:
                    return
                if line is None:
                    time.sleep(_EVERY)
                else:
                    yield from self._ask(line)
        except BackendError as e:
            yield from (Failed(id_, str(e)) for id_ in self._todo)
        finally:
            if line is not None:
                line.close()

    def _look(self, r: Ready, now: float) -> Outcome | None:
        handle = self._handles.get(r.host, Handle())
        if r.condition == "tcp" and r.port is not None and listens(handle.pid, r.port):
            return Done(r.id)
        if r.condition == "log" and r.text is not None:
            logs = self._life.logs_of(r)
            since = {name: self._since.get(f"{r.node}/{name}", 0) for name in logs.names(r.node)}
            if logs.contains(r.node, r.text, since):
                return Done(r.id)
        if self._stop.is_set():
            return Failed(r.id, "given up, as the run stops", errno.ECANCELED)
        if not is_alive(handle):
            ended = (
                f"the container is not running{self._said(r)}"
                if r.in_container
                else "the host is not running"
            )
            return Failed(r.id, ended, errno.ESRCH)
        if now >= self._ends[r.id]:
            return Failed(r.id, self._too_late(r), errno.ETIMEDOUT)
        return None

    def _ask(self, line: Line) -> Iterator[Outcome]:
        """Start the commands that are due, and hear of those that have ended."""
        now = time.monotonic()
        orders = []
        for r in self._todo.values():
            if r.condition == "command" and r.id not in self._asked and self._again.get(r.id, now) <= now:
                self._asked.add(r.id)
                order = self._life.order(r, self._handles, _LOG)
                orders.append(dataclasses.replace(order, timeout=max(self._ends[r.id] - now, 0.1)))
        if orders:
            line.order("once", orders)
        answer = line.answer(now + _EVERY)
        while answer is not None:
            self._asked.discard(answer.key)
            if answer.done and (r_ := self._todo.pop(answer.key, None)) is not None:
                yield Done(r_.id)
            self._again[answer.key] = time.monotonic() + _AGAIN
            self._seen[answer.key] = answer.reason or (
                "it did not end in time" if answer.status == 124 else f"exit status {answer.status}"
            )
            answer = line.answer(time.monotonic())

    def _too_late(self, r: Ready) -> str:
        what = {
            "tcp": f"nothing listens on TCP port {r.port}",
            "command": f"its command does not succeed ({self._seen.get(r.id, 'it has not ended')})",
            "log": f"no log of it says {r.text!r}",
        }[r.condition]
        return f"{r.node} is not ready after {r.milliseconds / 1000:g} s: {what}{self._said(r)}"

    def _said(self, r: Ready) -> str:
        lines = self._life.logs_of(r).last(r.node, _LINES)
        logged = "\n".join(f"    {line}" for line in lines)
        return f"; its last log lines:\n{logged}" if lines else "; it has logged nothing"


def listens(pid: int | None, port: int) -> bool:
    """Whether a socket in the network namespace of a process accepts TCP connections on `port`, at any address."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                return True
    return False
