"""Who follows a run: a person with a bar or lines, a program with JSON lines, a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from vtopo.backends.base import Watch
from vtopo.cli.console import Console
from vtopo.cli.progress import shown
from vtopo.run.events import Event, OnEvent, timed
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.cli.stream import Stream
    from vtopo.cli.trace import Trace

TRACE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Follower:
    """Hears of a run, by `on_event` and `watch`."""

    watch: Watch
    listeners: list[OnEvent] = field(default_factory=list)

    def on_event(self, event: Event) -> None:
        """Tell everybody."""
        for listener in self.listeners:
            listener(event)


@contextlib.contextmanager
def traced(trace_file: Path | None, command: str) -> Iterator[Trace | None]:
    """A trace that is written in the end, however the command ends; Failure at once if it could not be."""
    if trace_file is None:
        yield None
        return
    from vtopo.cli.outfile import check_outfile, write_outfile
    from vtopo.cli.trace import Trace

    check_outfile(trace_file)
    trace = Trace()
    try:
        yield trace
    finally:
        write_outfile(trace_file, trace.text(command), TRACE_MODE)


@contextlib.contextmanager
def followed(console: Console, trace: Trace | None, stream: Stream | None = None) -> Iterator[Follower]:
    """Everybody who follows a run: the trace, and a person unless there is a stream."""
    follower = Follower(Watch(calls=SimpleQueue() if console.verbose else None))
    with shown(console) as person:
        listeners: Sequence[OnEvent | None] = (trace, stream, None if stream else person)
        follower.listeners.extend(each for each in listeners if each is not None)
        try:
            yield follower
        except Exception as e:
            if stream is not None:
                stream.failed(e)
            raise


@contextlib.contextmanager
def timed_before(phase: str, console: Console, trace: Trace | None) -> Iterator[None]:
    """Has a person and the trace know how long something took that comes before the run."""

    def tell(event: Event) -> None:
        if trace is not None:
            trace(event)
        person(event)

    with shown(console) as person, timed(phase, tell):
        yield
