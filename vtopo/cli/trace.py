"""A run as a Chrome trace, for chrome://tracing and ui.perfetto.dev.

The format is that of Google's "Trace Event Format": complete events (`X`) with times in microseconds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import field

from vtopo import __version__
from vtopo.run import events
from vtopo.values import dataclass

_PHASES, _LOOP, _BESIDE = 1, 2, 3
"""Rows: the command's phases, the batches of the loop, then one for each of the slow steps under way."""


@dataclass(slots=True)
class _Batch:
    name: str
    row: int
    began: float
    last: float
    ids: Sequence[str]


@dataclass(slots=True)
class Trace:
    """A listener that remembers when things were; `text` is the trace."""

    began: float = field(default_factory=time.monotonic)
    _events: list[dict[str, object]] = field(default_factory=list)
    _batches: dict[int, _Batch] = field(default_factory=dict)
    _rows: set[int] = field(default_factory=set)
    _undo: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Note what an event says, and when."""
        now = time.monotonic()
        match event:
            case events.Took(phase=phase, seconds=seconds):
                self._span(phase, now - seconds, now, _PHASES, "phase")
            case events.BatchStarted():
                row = self._free_row() if event.beside else _LOOP
                name = f"{event.action} {event.resources[0].id if event.beside else event.kind}"
                ids = [r.id for r in event.resources]
                self._batches[event.number] = _Batch(name, row, now, now, ids)
            case events.Progress(done=done) if done:
                batch = self._batches[event.number]
                if batch.row == _LOOP:
                    name = done[0].id if len(done) == 1 else f"{done[0].id} … {done[-1].id}"
                    self._span(name, batch.last, now, _LOOP, "steps", {"steps": [r.id for r in done]})
                batch.last = now
            case events.BatchDone():
                batch = self._batches.pop(event.number)
                self._rows.discard(batch.row)
                facts = {"asked": event.count, "done": event.finished, "steps": batch.ids}
                self._span(batch.name, batch.began, now, batch.row, "batch", facts)
            case events.StepFailed():
                facts = {"id": event.resource.id, "reason": event.reason}
                self._events.append(
                    {"name": str(event), "cat": "failed", "ph": "i", "s": "p", "args": facts}
                    | self._at(now, _LOOP)
                )
            case events.Undoing():
                self._undo = now
            case events.Undone() if self._undo is not None:
                self._span("undo", self._undo, now, _PHASES, "phase")

    def text(self, command: str) -> str:
        """The trace as JSON; `command` is what was run."""
        now = time.monotonic()
        self._span(command, self.began, now, _PHASES, "command")
        rows = {_PHASES: "phases", _LOOP: "steps in turn"}
        used = {e["tid"] for e in self._events}
        rows |= {row: f"beside {row - _LOOP}" for row in range(_BESIDE, _BESIDE + 1000) if row in used}
        names = [_named("process_name", f"vtopo {__version__}: {command}", 0)]
        names += [_named("thread_name", name, row) for row, name in rows.items()]
        document = {"traceEvents": [*names, *self._events], "displayTimeUnit": "ms"}
        return json.dumps(document, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n"

    def _free_row(self) -> int:
        row = next(row for row in range(_BESIDE, _BESIDE + len(self._rows) + 1) if row not in self._rows)
        self._rows.add(row)
        return row

    def _at(self, when: float, row: int) -> dict[str, object]:
        return {"ts": round((when - self.began) * 1e6, 3), "pid": os.getpid(), "tid": row}

    def _span(
        self,
        name: str,
        began: float,
        ended: float,
        row: int,
        category: str,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        span: dict[str, object] = {"name": name, "cat": category, "ph": "X", **self._at(began, row)}
        self._events.append({**span, "dur": round((ended - began) * 1e6, 3), "args": facts or {}})


def _named(what: str, name: str, row: int) -> dict[str, object]:
    return {"name": what, "ph": "M", "pid": os.getpid(), "tid": row, "ts": 0, "args": {"name": name}}
