"""What a person sees of a run while it goes on: a bar for long ones on a terminal, steps with --verbose."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vtopo.backends.base import Call, Transfer
from vtopo.cli.console import Console
from vtopo.run import events

if TYPE_CHECKING:
    from vtopo.cli.bar import Bar

LARGE = 150
"""Runs of fewer steps are over before a bar could be read."""

_DOING = {"create": "making", "update": "changing", "delete": "removing"}


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Callable[[events.Event], None]]:
    """A listener for a run's events."""
    listener = _Listener(console)
    try:
        yield listener
    finally:
        listener.close()


@contextlib.contextmanager
def transfers(console: Console) -> Iterator[Callable[[Transfer], None]]:
    """What shows transfers on a terminal, and nothing elsewhere."""
    if not console.live:
        yield lambda _: None
        return
    from vtopo.cli.bar import Bar

    bar = Bar()
    try:
        yield bar.transfer
    finally:
        bar.close()


class _Listener:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._actions: dict[str, str] = {}
        self._begun: set[str] = set()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.RunStarted(steps=steps) if self._console.live and steps >= LARGE:
                from vtopo.cli.bar import Bar

                self._bar = Bar(steps)
            case events.BatchStarted():
                if self._bar is not None:
                    self._bar.say(f"{_DOING[event.action]} {event.kind}")
                if self._console.verbose:
                    self._actions.update(
                        (r.id, f"{event.action} {event.kind} {r.id}") for r in event.resources
                    )
            case events.Progress() if self._bar is not None:
                self._bar.advance(event.total_finished)
            case events.Called(calls=calls):
                self._show(calls)
            case events.Transferred(transfers=transfers):
                for each in transfers:
                    self._transfer(each)
            case events.BatchDone():
                self._console.detail(
                    f"{event.action} {event.finished} {event.kind}: {event.seconds * 1000:.0f} ms"
                )
            case events.Took(phase=phase, seconds=seconds) if phase != "record":
                self._console.detail(f"{phase}: {seconds * 1000:.0f} ms")
            case events.Undoing():
                self.close()
                self._console.note("undoing what this run did …")

    def _transfer(self, transfer: Transfer) -> None:
        """On a terminal a bar; elsewhere a line as it begins and as it ends."""
        if self._console.live:
            if self._bar is None:
                from vtopo.cli.bar import Bar

                self._bar = Bar()
            self._bar.transfer(transfer)
        elif transfer.finished or transfer.what not in self._begun:
            self._begun.add(transfer.what)
            self._console.say(f"{transfer.what}{': done' if transfer.finished else ' …'}")

    def _show(self, calls: Sequence[Call]) -> None:
        """The calls of each step under its name."""
        by_step: dict[str, list[Call]] = {}
        for call in calls:
            by_step.setdefault(call.id, []).append(call)
        for id_, its in by_step.items():
            self._console.detail(self._actions.get(id_, id_))
            for call in its:
                answer = f": {call.error}" if call.error else ""
                self._console.detail(f"    {call.text}{answer}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
