"""What a run tells while it goes on, and how it ends when it fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from vtopo.backends.base import Call, Transfer
from vtopo.compile.resources import Resource, Unrealized
from vtopo.lang.source import Range
from vtopo.plan.plan import Action, Plan
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run or an undo begins; `steps` counts what backends are asked for, one by one."""

    plan: Plan
    steps: int


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """Resources of one kind are now being created, updated or deleted; `beside` what else goes on."""

    action: Action
    kind: str
    resources: tuple[Resource, ...]
    number: int
    beside: bool

    @property
    def count(self) -> int:
        """How many."""
        return len(self.resources)


@dataclass(frozen=True, slots=True)
class Progress:
    """`finished` of the `count` resources of batch `number`, `total_finished` of the run's steps are over.

    `done` are those that succeeded since the last time.
    """

    action: Action
    kind: str
    finished: int
    count: int
    total_finished: int
    number: int
    done: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class BatchDone:
    """Batch `number` is over: `finished` of `count` succeeded in `seconds`, with their records written."""

    action: Action
    kind: str
    finished: int
    count: int
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Called:
    """What backends asked of their systems lately; told only where the run's Watch has `calls`."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Transferred:
    """How far what is fetched or built has come lately."""

    transfers: tuple[Transfer, ...]


@dataclass(frozen=True, slots=True)
class Took:
    """A phase of a command that is just over, and its seconds: `lock`, `observe`, `plan`, `record`, …"""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """One resource was not made, changed or removed; `reason` is the system's own text."""

    resource: Resource
    action: Action
    reason: str
    errno: int = 0

    @property
    def origin(self) -> Range | None:
        """Where the lab's text asks for the resource."""
        return self.resource.origin

    def __str__(self) -> str:
        if isinstance(self.resource, Unrealized):
            return f"cannot make `{self.resource.what}` of `{self.resource.owner}` real: {self.reason}"
        return f"cannot {self.action} {self.resource.kind} {self.resource.id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Undoing:
    """What this run did is being undone, in `steps` steps; RunStarted and its batches follow."""

    steps: int


@dataclass(frozen=True, slots=True)
class Undone:
    """The undo is over; `left` are the steps of it that failed: empty if all is as before."""

    left: tuple[StepFailed, ...]


Event: TypeAlias = (
    RunStarted
    | BatchStarted
    | Progress
    | Called
    | Transferred
    | BatchDone
    | StepFailed
    | Took
    | Undoing
    | Undone
)
OnEvent: TypeAlias = Callable[[Event], None]


@contextlib.contextmanager
def timed(phase: str, on_event: OnEvent) -> Iterator[None]:
    """Tells how long what is within took, if it succeeds."""
    started = time.perf_counter()
    yield
    on_event(Took(phase, time.perf_counter() - started))


class RunFailed(Exception):
    """A run did not succeed.

    `failures` are the steps that failed, `error` what else stopped it (a system out of reach, a full disk).
    `refused`: nothing was begun, since this machine cannot do what `failures` say.
    Without `left` and not `kept`, all is as before the run. `kept` means that nothing was undone, on purpose: what
    exists is recorded. `left` says what could not be undone or removed; it stays recorded, unless `unrecorded` says
    why the records could not be kept.
    """

    def __init__(
        self,
        failures: tuple[StepFailed, ...],
        *,
        error: str | None = None,
        interrupted: bool = False,
        kept: bool = False,
        left: tuple[StepFailed, ...] = (),
        unrecorded: str | None = None,
        refused: bool = False,
    ) -> None:
        what = [str(failure) for failure in failures[:1]] or [error or "interrupted"]
        super().__init__(what[0])
        self.failures = failures
        self.error = error
        self.interrupted = interrupted
        self.kept = kept
        self.left = left
        self.unrecorded = unrecorded
        self.refused = refused

    @property
    def undone(self) -> bool:
        """Whether all is as it was before the run."""
        return not self.left and not self.kept
