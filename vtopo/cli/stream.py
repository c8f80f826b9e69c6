"""A run as JSON lines: one event per step as it begins and ends, and a summary."""

from __future__ import annotations

import dataclasses
import errno
import json
import time
from typing import TYPE_CHECKING

import click

from vtopo.run import events

if TYPE_CHECKING:
    from vtopo.backends.base import Call
    from vtopo.compile.resources import Resource
    from vtopo.plan.plan import Action, Plan


def counts(plan: Plan) -> dict[str, int]:
    """How many resources are created, updated, replaced, deleted and left alone, as JSON documents have it."""
    return {str(action): count for action, count in plan.counts.items()}


class Stream:
    """A listener that prints a run's events, each on a line of its own.

    When nobody reads any more (`vtopo up --json | head`), it falls silent: the run is worth more than its report.
    """

    def __init__(self, lab: str, began: float) -> None:
        """`began` is the moment of time.monotonic from which times count."""
        self._lab = lab
        self._began = began
        self._started: dict[int, float] = {}
        self._undoing = False
        self._silent = False

    def __call__(self, event: events.Event) -> None:
        """Print what an event says."""
        now = time.monotonic()
        match event:
            case events.RunStarted(steps=steps) if not self._undoing:
                self._print({"event": "run", "lab": self._lab, "steps": steps, "counts": counts(event.plan)})
            case events.Undoing(steps=steps):
                self._undoing = True
                self._print({"event": "undo", "steps": steps})
            case events.BatchStarted():
                self._started[event.number] = now
                self._print(*(self._step("start", r, event.action) for r in event.resources))
            case events.Progress():
                took = round(now - self._started.get(event.number, now), 4)
                done = (self._step("done", r, event.action) for r in event.done)
                self._print(*({**each, "seconds": took} for each in done))
            case events.StepFailed():
                why = {"reason": event.reason, "errno": event.errno}
                place = str(event.origin) if event.origin else None
                self._print({**self._step("failed", event.resource, event.action), **why, "place": place})
            case events.Called(calls=calls):
                self._print(*(_call(call) for call in calls))
            case events.Transferred(transfers=transfers):
                self._print(*({"event": "transfer", **dataclasses.asdict(each)} for each in transfers))

    def summary(self, ok: bool, **facts: object) -> None:
        """The last line: how the run ended."""
        seconds = round(time.monotonic() - self._began, 3)
        self._print({"event": "summary", "lab": self._lab, "ok": ok, **facts, "seconds": seconds})

    def failed(self, error: Exception) -> None:
        """The summary of a run that did not succeed."""
        if isinstance(error, events.RunFailed):
            self.summary(
                ok=False,
                changed=not error.undone,
                error=None if error.failures else error.error or "interrupted",
                failures=len(error.failures),
                interrupted=error.interrupted,
                undone=error.undone and not error.refused,
                left=[step.resource.id for step in error.left],
            )
        else:
            self.summary(ok=False, changed=False, error=str(error), failures=0)

    def _step(self, event: str, resource: Resource, action: Action) -> dict[str, object]:
        return {
            "event": event,
            "id": resource.id,
            "kind": resource.kind,
            "action": str(action),
            "undo": self._undoing,
        }

    def _print(self, *documents: dict[str, object]) -> None:
        if self._silent or not documents:
            return
        at = round(time.monotonic() - self._began, 4)
        lines = (json.dumps({**document, "time": at}, ensure_ascii=False) for document in documents)
        try:
            click.echo("\n".join(lines))
        except OSError as e:
            self._silent = True
            if e.errno not in (errno.EPIPE, errno.EINVAL):
                raise


def _call(call: Call) -> dict[str, object]:
    return {"event": "call", "id": call.id, "call": call.text, "error": call.error or None}
