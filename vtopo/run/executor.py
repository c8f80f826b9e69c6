"""Carries out a plan: batch by batch, each recorded before and after, and undone if one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from vtopo.backends.base import Backend, BackendError, Done, Failed, Handle, Outcome, Present
from vtopo.compile.resources import Resource
from vtopo.plan.diff import diff, whole
from vtopo.plan.order import Batch, Order
from vtopo.plan.plan import Action, Plan, Step
from vtopo.run.events import (
    BatchDone,
    BatchStarted,
    Event,
    OnEvent,
    Progress,
    RunFailed,
    RunStarted,
    StepFailed,
    Undoing,
    Undone,
)
from vtopo.run.interrupt import Interrupts
from vtopo.state.folder import StateError
from vtopo.state.store import Records, Store

_PROGRESS_EVERY = 32
_NAMESPACES = frozenset({"netns", "host"})


class Backends:
    """Which backend takes which kind."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.all = tuple(backends)
        self._of = {kind: backend for backend in backends for kind in backend.kinds}

    def of(self, kind: str) -> Backend:
        """The backend of a kind; BackendError if there is none."""
        if kind not in self._of:
            raise BackendError(f"nothing on this machine takes care of resources of the kind {kind}")
        return self._of[kind]

    def check(self, plan: Plan) -> None:
        """RunFailed, with all that this machine cannot do of a plan, before anything of it is done."""
        batches: dict[str, dict[str, Step]] = {}
        for step in plan.steps:
            batches.setdefault(step.resource.kind, {})[step.resource.id] = step
        failures: list[StepFailed] = []
        for kind, steps in batches.items():
            wanted = {id_: step for id_, step in steps.items() if step.action is not Action.DELETE}
            backend = self._of.get(kind)
            if backend is None:
                outcomes = [Failed(id_, f"this version cannot make one ({kind})") for id_ in steps]
            else:
                outcomes = list(backend.unable([step.resource for step in wanted.values()]))
            failures += [
                StepFailed(steps[o.id].resource, steps[o.id].action, o.reason, o.errno) for o in outcomes
            ]
        if failures:
            raise RunFailed(tuple(failures), refused=True)

    def observe(self, records: Records) -> Mapping[str, Present]:
        """What is there of the finished resources that are recorded."""
        groups: dict[int, list[Resource]] = {}
        owners: dict[int, Backend] = {}
        for id_, resource in records.resources.items():
            if id_ not in records.unfinished:
                backend = self.of(resource.kind)
                owners[id(backend)] = backend
                groups.setdefault(id(backend), []).append(resource)
        present: dict[str, Present] = {}
        for key, resources in groups.items():
            present.update(owners[key].observe(resources, records.handles))
        return present


class Executor:
    """One run over one lab. It knows what exists of it at every moment, so it can always go back.

    One loop takes the batches in turn: netlink writers gain nothing from company (RTNL is one lock). A
    backend that is slow and independent can get a thread of its own here, since `Order` hands out whatever
    is ready regardless of batches that are still out.
    """

    def __init__(
        self,
        records: Records,
        present: Mapping[str, Present],
        backends: Backends,
        store: Store,
        on_event: OnEvent,
        interrupts: Interrupts,
    ) -> None:
        self._backends = backends
        self._store = store
        self._on_event = on_event
        self._interrupts = interrupts
        self._exists = {id_: records.resources[id_] for id_ in records.unfinished}
        self._exists.update((id_, p.found) for id_, p in present.items())
        self._uncertain = set(records.unfinished)
        self._handles = {id_: h for id_, h in records.handles.items() if id_ in self._exists}
        self._handles.update((id_, p.handle) for id_, p in present.items() if _has_handle(p.found, p.handle))
        self._before = whole({id_: p.found for id_, p in present.items()})
        self._finished = 0
        self._undoing = False
        self._records_can_fail = False
        self.interrupted = False
        self.error: str | None = None
        self.unrecorded: str | None = None

    def carry_out(self, plan: Plan, *, go_on: bool = False) -> tuple[StepFailed, ...]:
        """The steps that failed. Stops at the first batch with failures, or is to `go_on` with the rest.

        What else stops it is in `interrupted` and `error`.
        """
        order = Order(plan.steps)
        self._finished = 0
        self._records_can_fail = go_on
        self._tell(RunStarted(plan, sum(step.goes_with is None for step in plan.steps)))
        failures: list[StepFailed] = []
        while (batch := order.take()) is not None:
            if self._stops():
                break
            failed = self._batch(plan.steps, batch, order, go_on)
            failures += failed
            if (failed or self.error) and not go_on:
                break
        return tuple(failures)

    def undo(self) -> tuple[StepFailed, ...]:
        """Leads back to what existed before the run; the steps that failed."""
        there = {id_: Present(r, self._handles.get(id_, Handle())) for id_, r in self._exists.items()}
        plan = diff(tuple(self._before.values()), self._exists, there, self._uncertain)
        self._tell(Undoing(len(plan.steps)))
        self._undoing = True
        left = self.carry_out(plan, go_on=True)
        self._tell(Undone(left))
        return left

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception as e:
            # Whoever listens must not leave a run half done: it stops, and is undone.
            self._on_event = lambda _: None
            self.error = f"{type(e).__name__}: {e}"

    def _stops(self) -> bool:
        # An undo is not to be interrupted: half of it would be worse than either state.
        if self._interrupts.asked and not self._undoing:
            self.interrupted = True
        return self.interrupted and not self._undoing

    def _batch(self, steps: Sequence[Step], batch: Batch, order: Order, go_on: bool) -> list[StepFailed]:
        """Carries out one batch between its two records; releases what waits for its steps."""
        started = time.perf_counter()
        todo = {steps[at].resource.id: at for at in batch.steps}
        self._tell(BatchStarted(batch.action, batch.kind, len(todo)))
        if not self._announce(batch.action, [steps[at].resource for at in batch.steps]):
            return []
        done, failed = self._outcomes(batch, [steps[at] for at in batch.steps])
        over = [todo[id_] for id_ in (todo if go_on else done)]
        went = [steps[at] for at in order.done(over)]
        with_them = self._ended_with(done, went) if batch.action is Action.DELETE else ()
        self._settle(batch.action, {id_: steps[todo[id_]] for id_ in done}, done, with_them, failed)
        for failure in failed:
            self._tell(failure)
        seconds = time.perf_counter() - started
        self._tell(BatchDone(batch.action, batch.kind, len(done), len(todo), seconds))
        return failed

    def _announce(self, action: Action, resources: Sequence[Resource]) -> bool:
        """Records what is about to be; False if it cannot, and then it must not be."""
        if action is Action.CREATE:
            return self._record(lambda: self._store.intend(resources))
        if action is Action.DELETE:
            return self._record(lambda: self._store.leaving([r.id for r in resources]))
        return True

    def _record(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except StateError as e:
            if not self._records_can_fail:
                self.error = str(e)
                return False
            # Taking away goes on without: what is gone but still recorded does no harm.
            self.unrecorded = str(e)
        return True

    def _outcomes(self, batch: Batch, steps: Sequence[Step]) -> tuple[dict[str, Handle], list[StepFailed]]:
        """Calls the backend: the handles of what succeeded, and what failed or was never heard of."""
        pending = {step.resource.id: step for step in steps}
        done: dict[str, Handle] = {}
        failed: list[StepFailed] = []
        silence = "the backend did not say what became of it"
        try:
            for outcome in self._call(batch, steps):
                step = pending.pop(outcome.id)
                if isinstance(outcome, Done):
                    done[outcome.id] = outcome.handle
                else:
                    failed.append(self._failure(step, outcome))
                self._count(batch, len(done) + len(failed))
        except KeyboardInterrupt:
            self.interrupted = True
            silence = "interrupted"
        except BackendError as e:
            silence = str(e)
        except Exception as e:
            silence = f"{type(e).__name__}: {e}"
        # What nobody reported on may be there or not, whole or in part.
        for id_, step in pending.items():
            if step.action is not Action.UPDATE:
                self._uncertain.add(id_)
            if step.action is not Action.DELETE:
                self._exists[id_] = step.resource
        failed += [StepFailed(step.resource, step.action, silence) for step in pending.values()]
        return done, failed

    def _call(self, batch: Batch, steps: Sequence[Step]) -> Iterator[Outcome]:
        backend = self._backends.of(batch.kind)
        if batch.action is Action.UPDATE:
            pairs = [(step.previous or step.resource, step.resource) for step in steps]
            return backend.update(pairs, self._handles)
        resources = [step.resource for step in steps]
        if batch.action is Action.CREATE:
            return backend.create(resources, self._handles)
        return backend.delete(resources, self._handles)

    def _failure(self, step: Step, outcome: Failed) -> StepFailed:
        if step.action is Action.UPDATE:
            # It may have been changed in part: to undo it is to set the old values again.
            self._exists[step.resource.id] = step.resource
        return StepFailed(step.resource, step.action, outcome.reason, outcome.errno)

    def _count(self, batch: Batch, finished: int) -> None:
        self._finished += 1
        if finished == len(batch.steps) or finished % _PROGRESS_EVERY == 0:
            self._tell(Progress(batch.action, batch.kind, finished, len(batch.steps), self._finished))

    def _settle(
        self,
        action: Action,
        steps: Mapping[str, Step],
        done: Mapping[str, Handle],
        with_them: Sequence[str],
        failed: Sequence[StepFailed],
    ) -> None:
        """Takes note of what is so now, in memory first: undo goes by that if the record fails."""
        failed_ids = [f.resource.id for f in failed if f.resource.id not in self._uncertain]
        if action is Action.DELETE:
            for id_ in (*done, *with_them):
                self._forget(id_)
            back = [(id_, self._handles.get(id_, Handle())) for id_ in failed_ids]
            self._record(lambda: self._store.settle(made=back, gone=(*done, *with_them)))
            return
        for id_, handle in done.items():
            self._exists[id_] = steps[id_].resource
            self._uncertain.discard(id_)
            if action is Action.CREATE and _has_handle(steps[id_].resource, handle):
                self._handles[id_] = handle
        if action is Action.UPDATE:
            self._record(lambda: self._store.changed([step.resource for step in steps.values()]))
        else:
            # Undoing, what cannot be made again stays recorded as unfinished, and the next run makes it.
            gone = [] if self._undoing else failed_ids
            self._record(lambda: self._store.settle(made=list(done.items()), gone=gone))

    def _ended_with(self, done: Collection[str], went: Sequence[Step]) -> Sequence[str]:
        """What is gone because it was within something `done`; `went` is what the plan says of that.

        The plan names one container of each; where that one's delete failed, another may have ended it.
        """
        within: dict[str, list[str]] = {}
        for resource in self._exists.values():
            for container in resource.within:
                within.setdefault(container, []).append(resource.id)
        gone = list(done)
        seen = set(gone)
        for id_ in gone:
            inner = [child for child in within.get(id_, ()) if child not in seen]
            gone += inner
            seen.update(inner)
        for step in went:
            if step.goes_with in seen and step.resource.id not in seen:
                gone.append(step.resource.id)
                seen.add(step.resource.id)
        return gone[len(done) :]

    def _forget(self, id_: str) -> None:
        self._exists.pop(id_, None)
        self._handles.pop(id_, None)
        self._uncertain.discard(id_)


def _has_handle(resource: Resource, handle: Handle) -> bool:
    return handle != Handle() or resource.kind in _NAMESPACES
