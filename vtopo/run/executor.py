"""Carries out a plan: batch by batch, each recorded before and after, and undone if one fails."""

from __future__ import annotations

import contextlib
import errno
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from queue import Empty

from vtopo.backends.base import (
    BackendError,
    Call,
    Done,
    Handle,
    Outcome,
    Transfer,
    Watch,
    Weight,
)
from vtopo.compile.resources import Resource
from vtopo.plan.order import Batch, Order
from vtopo.plan.plan import Action, Plan, Step
from vtopo.run.backends import Backends
from vtopo.run.beside import Beside
from vtopo.run.events import (
    BatchDone,
    BatchStarted,
    Called,
    Event,
    OnEvent,
    Progress,
    RunStarted,
    StepFailed,
    Transferred,
    Undoing,
    Undone,
    timed,
)
from vtopo.run.interrupt import Interrupts
from vtopo.run.ledger import Ledger
from vtopo.run.limit import Limit
from vtopo.values import dataclass

_PROGRESS_EVERY = 32
_LOOK_EVERY = 0.1
"""Seconds after which somebody's wish to stop is seen, while only slow steps are under way."""


@dataclass(frozen=True, slots=True)
class _Out:
    """A batch that was handed to its backend: its steps, and their positions in the plan, by resource id."""

    number: int
    batch: Batch
    steps: Mapping[str, Step]
    at: Mapping[str, int]
    weight: Weight
    started: float = field(default_factory=time.perf_counter)

    def progress(self, finished: int, of_all: int, done: Sequence[Resource]) -> Progress:
        """What to tell now that `finished` of its steps are over."""
        action, kind = self.batch.action, self.batch.kind
        return Progress(action, kind, finished, len(self.steps), of_all, self.number, tuple(done))


@dataclass(slots=True)
class _Pass:
    """One way through a plan: what waits to begin, what is under way, what became of the rest."""

    steps: Sequence[Step]
    order: Order
    go_on: bool
    beside: Beside[_Out] = field(default_factory=Beside)
    waiting: deque[Batch] = field(default_factory=deque)
    failures: list[StepFailed] = field(default_factory=list)
    batches: int = 0
    finished: int = 0


class Executor:
    """One run over one lab: `carry_out` its plan and, where that fails, `undo` it.

    One loop takes the batches in turn: netlink writers gain nothing from company (RTNL is one lock). What is
    slow gets threads beside it, as many as `limit` admits; they call the backends and nothing else. The loop
    alone writes records and tells events, so both are in order.
    """

    def __init__(
        self,
        ledger: Ledger,
        backends: Backends,
        on_event: OnEvent,
        interrupts: Interrupts,
        limit: Limit | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._ledger = ledger
        self._backends = backends
        self._on_event = on_event
        self._interrupts = interrupts
        self._limit = limit or Limit()
        self._watch = watch or Watch()
        self.interrupted = False
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """What else than a failing step stopped the run."""
        return self._error or self._ledger.error

    @property
    def unrecorded(self) -> str | None:
        """Why the records could not be kept while all was taken away."""
        return self._ledger.unrecorded

    def carry_out(self, plan: Plan, *, go_on: bool = False) -> tuple[StepFailed, ...]:
        """The steps that failed. Begins no more after the first failure, or is to `go_on` with the rest.

        What else stops it is in `interrupted` and `error`.
        """
        run = _Pass(plan.steps, Order(plan.steps, self._backends.slow.keys()), go_on)
        self._ledger.lenient = go_on
        self._tell(RunStarted(plan, sum(step.goes_with is None for step in plan.steps)))
        try:
            while self._goes_on(run):
                self._begin_slow(run)
                if (batch := run.order.take()) is not None:
                    self._in_the_loop(run, batch)
                    self._fetch(run)
                elif run.beside:
                    self._fetch(run, _LOOK_EVERY)
                else:
                    break
            self._watch.stop.set()
            while run.beside:
                self._fetch(run, _LOOK_EVERY)
        finally:
            run.beside.join()
            self._watch.stop.clear()
        return self._told(run.failures)

    def undo(self) -> tuple[StepFailed, ...]:
        """Leads back to what existed before the run; the steps that failed."""
        plan = self._ledger.way_back()
        self._tell(Undoing(len(plan.steps)))
        self._ledger.undoing = True
        left = self.carry_out(plan, go_on=True)
        self._ledger.undone()
        self._tell(Undone(left))
        return left

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception as e:
            # Whoever listens must not leave a run half done: it stops, and is undone.
            self._on_event = lambda _: None
            self._error = f"{type(e).__name__}: {e}"

    def _tell_calls(self) -> None:
        transfers: dict[str, Transfer] = {}  # of each the last word
        while not self._watch.transfers.empty():
            transfer = self._watch.transfers.get()
            transfers[transfer.what] = transfer
        if transfers:
            self._tell(Transferred(tuple(transfers.values())))
        if self._watch.calls is None:
            return
        calls: list[Call] = []
        with contextlib.suppress(Empty):
            while True:
                calls.append(self._watch.calls.get_nowait())
        if calls:
            self._tell(Called(tuple(calls)))

    def _goes_on(self, run: _Pass) -> bool:
        # An undo is not to be interrupted: half of it would be worse than either state.
        if self._ledger.undoing:
            return True
        if self._interrupts.asked:
            self.interrupted = True
        return not self.interrupted and (run.go_on or not (run.failures or self.error))

    def _told(self, failures: Sequence[StepFailed]) -> tuple[StepFailed, ...]:
        """Without those that gave up because the run was to stop, where something else tells why it did."""
        others = tuple(f for f in failures if f.errno != errno.ECANCELED)
        return others if others or self.interrupted or self.error else tuple(failures)

    def _begin_slow(self, run: _Pass) -> None:
        """Begins what is slow and ready, in its order, as far as the machine carries it."""
        run.waiting.extend(run.order.take_slow())
        while run.waiting and not self.error:
            step = run.steps[run.waiting[0].steps[0]]
            weight = self._weigh(step)
            if not self._limit.admits(weight):
                return
            out = self._begin(run, run.waiting.popleft(), weight)
            if out is not None:
                self._limit.begin(weight)
                # What it is told of the handles stays as it is, while the loop goes on.
                run.beside.start(out, partial(self._call, out, dict(self._ledger.handles)))

    def _weigh(self, step: Step) -> Weight:
        weight = self._backends.slow[step.resource.kind](step.resource)
        return weight if step.action is Action.CREATE else replace(weight, memory=0)

    def _fetch(self, run: _Pass, timeout: float = 0) -> None:
        """Takes note of the slow steps that are over."""
        for ended in run.beside.ended(timeout) if run.beside else ():
            self._limit.end(ended.key.weight)
            self._end(run, ended.key, ended.replay())
        self._tell_calls()

    def _in_the_loop(self, run: _Pass, batch: Batch) -> None:
        out = self._begin(run, batch)
        if out is not None:
            self._end(run, out, self._call(out, self._ledger.handles))

    def _begin(self, run: _Pass, batch: Batch, weight: Weight | None = None) -> _Out | None:
        """Announces a batch in the records; None if they could not be written: then it must not be."""
        steps = {run.steps[at].resource.id: run.steps[at] for at in batch.steps}
        run.batches += 1
        out = _Out(run.batches, batch, steps, dict(zip(steps, batch.steps, strict=True)), weight or Weight(0))
        resources = tuple(step.resource for step in steps.values())
        self._tell(BatchStarted(batch.action, batch.kind, resources, out.number, beside=weight is not None))
        with timed("record", self._tell):
            may = self._ledger.announce(batch.action, resources)
        return out if may else None

    def _end(self, run: _Pass, out: _Out, outcomes: Iterable[Outcome]) -> None:
        """Hears what became of a batch, records it, and releases what waits for its steps."""
        action, kind = out.batch.action, out.batch.kind
        done, failed = self._hear(run, out, outcomes)
        run.failures += failed
        over = out.at.values() if run.go_on else [out.at[id_] for id_ in done]
        went = [run.steps[at] for at in run.order.done(over)]
        made = {id_: (out.steps[id_].resource, handle) for id_, handle in done.items()}
        with timed("record", self._tell):
            self._ledger.settle(action, made, went, failed)
        self._tell_calls()
        for failure in failed:
            self._tell(failure)
        seconds = time.perf_counter() - out.started
        self._tell(BatchDone(action, kind, len(done), len(out.steps), out.number, seconds))

    def _hear(
        self, run: _Pass, out: _Out, outcomes: Iterable[Outcome]
    ) -> tuple[dict[str, Handle], list[StepFailed]]:
        """The handles of what succeeded, and what failed or was never heard of."""
        pending = dict(out.steps)
        done: dict[str, Handle] = {}
        failed: list[StepFailed] = []
        silence = "the backend did not say what became of it"
        since: list[Resource] = []
        try:
            for outcome in outcomes:
                step = pending.pop(outcome.id)
                if isinstance(outcome, Done):
                    done[outcome.id] = outcome.handle
                    since.append(step.resource)
                else:
                    if step.action is Action.UPDATE:
                        self._ledger.half_changed(step)
                    failed.append(StepFailed(step.resource, step.action, outcome.reason, outcome.errno))
                run.finished += 1
                finished = len(done) + len(failed)
                if finished == len(out.steps) or finished % _PROGRESS_EVERY == 0:
                    self._tell(out.progress(finished, run.finished, since))
                    since = []
        except KeyboardInterrupt:
            self.interrupted = True
            silence = "interrupted"
        except BackendError as e:
            silence = str(e)
        except Exception as e:
            silence = f"{type(e).__name__}: {e}"
        if since:
            self._tell(out.progress(len(done) + len(failed), run.finished, since))
        for step in pending.values():
            self._ledger.unheard(step)
        failed += [StepFailed(step.resource, step.action, silence) for step in pending.values()]
        return done, failed

    def _call(self, out: _Out, handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        backend = self._backends.of(out.batch.kind)
        if out.batch.action is Action.UPDATE:
            pairs = [(step.previous or step.resource, step.resource) for step in out.steps.values()]
            return backend.update(pairs, handles)
        resources = [step.resource for step in out.steps.values()]
        if out.batch.action is Action.CREATE:
            return backend.create(resources, handles)
        return backend.delete(resources, handles)
