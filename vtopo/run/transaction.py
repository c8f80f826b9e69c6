"""A lab's `up` and `down` from lock to last record: all of it, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from vtopo import __version__
from vtopo.backends.base import Backend, BackendError, Present, Watch
from vtopo.compile.resources import Resource
from vtopo.plan.diff import diff, whole
from vtopo.plan.plan import Plan
from vtopo.plan.saved import Basis, SavedPlan, digest
from vtopo.run.backends import Backends
from vtopo.run.early import EarlyLook
from vtopo.run.events import OnEvent, RunFailed, timed
from vtopo.run.executor import Executor
from vtopo.run.interrupt import deferred
from vtopo.run.ledger import Ledger
from vtopo.run.limit import Limit
from vtopo.state.folder import StateDamaged, StateDir, StateError
from vtopo.state.lock import Holder, locked
from vtopo.state.spec import to_text
from vtopo.state.store import NOTHING, Records, Store, boot_id
from vtopo.values import dataclass


def _ignore(_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a command behaves while another one works on the lab (see vtopo.state.lock)."""

    timeout: float | None = None
    on_wait: Callable[[Holder | None], None] = _ignore


_PATIENT = Waiting()


MadeOf: TypeAlias = Callable[[str], str]
SeenAs: TypeAlias = Callable[[Records, Mapping[str, Present]], Mapping[str, Present]]
"""What is to count as there, given the records and what is there."""


@dataclass(frozen=True, slots=True)
class UpResult:
    """What `up` did; `plan` is falsy if there was nothing to do."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class DownResult:
    """What `down` did: the plan of what was recorded, and what a sweep by marks found besides."""

    plan: Plan
    swept: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to take away."""
        return not self.plan and not self.swept


def preview(lab: str, desired: Sequence[Resource], backends: Sequence[Backend], state: StateDir) -> Plan:
    """What `up` would do now. Takes no lock and writes nothing."""
    return survey(lab, desired, backends, state)[0]


def survey(
    lab: str, desired: Sequence[Resource], backends: Sequence[Backend], state: StateDir
) -> tuple[Plan, Basis]:
    """What `up` would do now, and what that goes by. Takes no lock and writes nothing."""
    try:
        with Store.open(state, lab) as store:
            records, recorded = store.load(desired), store.stamp()
    except FileNotFoundError:
        records, recorded = Records(), NOTHING
    plan = diff(desired, records.resources, Backends(backends).observe(records), records.unfinished)
    return plan, _basis(desired, state, recorded)


def _basis(desired: Sequence[Resource], state: StateDir, records: str) -> Basis:
    resources = digest("\n".join(f"{r.kind} {to_text(r)}" for r in desired))
    # Without root the keeper may have to be started yet; what one that has ended had is in no records that count.
    return Basis(boot_id().partition("/")[0], str(state.path), records, resources, __version__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a lab stands: the lab file it was made from, what is recorded, and the plan that would repair it."""

    source: str
    records: Records
    drift: Plan


def standing(lab: str, backends: Sequence[Backend], state: StateDir) -> Standing:
    """What has drifted from what was made. Takes no lock and writes nothing; FileNotFoundError without records."""
    with Store.open(state, lab) as store:
        records = store.load()
        source = store.meta.source
    made = tuple(whole(records.resources).values())
    present = Backends(backends).observe(records)
    return Standing(source, records, diff(made, records.resources, present, records.unfinished))


def up(
    lab: str,
    desired: Sequence[Resource] | None,
    source: str | None,
    backends: Sequence[Backend],
    state: StateDir,
    *,
    on_event: OnEvent = _ignore,
    waiting: Waiting = _PATIENT,
    watch: Watch | None = None,
    jobs: int | None = None,
    keep_failed: bool = False,
    early: EarlyLook | None = None,
    saved: SavedPlan | None = None,
    seen_as: SeenAs | None = None,
    libvirt: str = "",
    made_of: MadeOf | None = None,
) -> UpResult:
    """Makes the world match `desired`, the resources of the lab file `source` (an absolute path); without both, what
    is recorded.

    `watch` is the one that the backends have. Of what is slow, `jobs` steps go on at once, or as many as the
    machine carries. `early` holds this lab's lock already, and knows what is there of it. With `saved`, just that
    plan is carried out, or StalePlan says why it cannot be, before anything is touched. With `seen_as`, what is
    found is taken for what that says. `libvirt` is where its VMs will be, if it is to have any. `made_of` tells from
    the records' stamp what is to be kept beside them.

    RunFailed if a step fails or someone interrupts: then all is as before, but for what it says is left, or
    with `keep_failed`. BackendError, LockHeld and StateError come before anything is touched.
    """
    with contextlib.ExitStack() as held:
        if early is None:
            with timed("lock", on_event):
                held.enter_context(locked(state, lab, waiting.timeout, waiting.on_wait))
        interrupts = held.enter_context(deferred())
        try:
            with Store.open(state, lab, source) as store:
                with timed("load", on_event):
                    records = store.load(desired or ())
                    source = source or store.meta.source
                    if desired is None:
                        desired = tuple(whole(records.resources).values())
                known = Backends(backends)
                with timed("observe", on_event):
                    if not records.resources:
                        _refuse_unrecorded(lab, known)
                    present = early.present(records) if early else None
                    if present is None:
                        present = known.observe(records)
                    if seen_as is not None:
                        present = seen_as(records, present)
                with timed("plan", on_event):
                    plan = diff(desired, records.resources, present, records.unfinished)
                    if saved is not None:
                        saved.check(_basis(desired, state, store.stamp()), plan)
                    known.check(plan)
                if plan or plan.recorded_otherwise or store.meta.source != source:
                    store.begin(source, libvirt)
                if plan:
                    ledger = Ledger(records, present, store)
                    executor = Executor(ledger, known, on_event, interrupts, Limit(jobs), watch)
                    _all_or_nothing(executor, plan, keep_failed)
                if plan.recorded_otherwise:
                    store.changed(plan.recorded_otherwise)
                if made_of is not None:
                    with contextlib.suppress(
                        StateError
                    ):  # the lab is up, whether there is room for this or not
                        store.remember(made_of(store.stamp()))
        except RunFailed as e:
            # On a full disk the records may not even say that they are empty.
            if e.undone and not records.resources:
                state.remove(lab)
            else:
                _discard_if_empty(state, lab)
            raise
        except Exception:
            _discard_if_empty(state, lab)
            raise
        return UpResult(plan)


def _refuse_unrecorded(lab: str, backends: Backends) -> None:
    """StateError if a lab of this name is there without records: a second one would be made beside it."""
    found = [trace for backend in backends.all for trace in backend.traces()]
    if found:
        raise StateError(
            f"lab {lab} is there already, but not in these records: {found[0]} bears its mark"
            f"{f', and so do {len(found) - 1} more' if len(found) > 1 else ''}. "
            f"Its records were deleted or are in another folder; `vtopo down {lab}` takes it away"
        )


def _discard_if_empty(state: StateDir, lab: str) -> None:
    """A lab of which nothing exists has no records."""
    try:
        with Store.open(state, lab) as store:
            empty = store.is_empty()
    except FileNotFoundError:
        empty = True
    except StateError:
        return
    if empty:
        with contextlib.suppress(StateError):
            state.remove(lab)


def _all_or_nothing(executor: Executor, plan: Plan, keep: bool) -> None:
    """RunFailed, once all is undone, unless the run succeeds."""
    failures = executor.carry_out(plan)
    error, interrupted = executor.error, executor.interrupted
    if not (failures or error or interrupted):
        return
    left = () if keep else executor.undo()
    raise RunFailed(
        failures,
        error=error,
        interrupted=interrupted,
        kept=keep,
        left=left,
        unrecorded=executor.unrecorded,
    )


def restore(
    lab: str,
    backends: Sequence[Backend],
    state: StateDir,
    *,
    on_event: OnEvent = _ignore,
    seen_as: SeenAs | None = None,
    keep_failed: bool = False,
) -> Plan:
    """Undoes what has drifted from what the last `up` made, as `up` does it; the plan that was carried out.

    With `seen_as`, only of what that lets differ. FileNotFoundError without records.
    """
    changed = up(
        lab, None, None, backends, state, on_event=on_event, seen_as=seen_as, keep_failed=keep_failed
    )
    return changed.plan


def down(
    lab: str,
    backends: Sequence[Backend],
    state: StateDir,
    *,
    on_event: OnEvent = _ignore,
    waiting: Waiting = _PATIENT,
    watch: Watch | None = None,
    jobs: int | None = None,
    sweep: bool = False,
) -> DownResult:
    """Takes the lab away: all that is recorded and, where records may not tell all, all that is marked.

    Goes on past what fails, and is not undone: RunFailed says what is `left`, which stays recorded.
    With `sweep`, damaged records are done without.
    """
    with contextlib.ExitStack() as held:
        with timed("lock", on_event):
            held.enter_context(locked(state, lab, waiting.timeout, waiting.on_wait))
        interrupts = held.enter_context(deferred())
        known = Backends(backends)
        try:
            with Store.open(state, lab) as store:
                with timed("plan", on_event):
                    ledger, plan, sure = _recorded(store)
                    known.check(plan)
                executor = Executor(ledger, known, on_event, interrupts, Limit(jobs), watch)
                _take_away(executor, plan)
                store.forsake()
        except (FileNotFoundError, StateDamaged) as e:
            if isinstance(e, StateDamaged) and not sweep:
                raise
            plan, sure = Plan(), False
        with timed("sweep", on_event):
            swept = () if sure and not sweep else _sweep(known)
        state.remove(lab)
        return DownResult(plan, swept)


def _recorded(store: Store) -> tuple[Ledger, Plan, bool]:
    """What is to be deleted, and whether the records are sure to tell all."""
    records = store.load()
    # Nothing is observed: to remove what is gone already costs less than to look.
    plan = diff((), records.resources, {}, records.unfinished)
    perhaps = Records(records.resources, records.handles, frozenset(records.resources))
    return Ledger(perhaps, {}, store), plan, bool(plan) and not records.unfinished


def _take_away(executor: Executor, plan: Plan) -> None:
    """RunFailed unless all of it could be deleted."""
    failures = executor.carry_out(plan, go_on=True)
    if failures or executor.interrupted:
        raise RunFailed(
            failures,
            interrupted=executor.interrupted,
            kept=not failures,
            left=failures,
            unrecorded=executor.unrecorded,
        )


def _sweep(backends: Backends) -> tuple[str, ...]:
    """Every backend's sweep, whatever becomes of the others."""
    swept: list[str] = []
    errors: list[str] = []
    for backend in backends.all:
        try:
            swept += backend.sweep()
        except BackendError as e:
            errors.append(str(e))
    if errors:
        raise BackendError("; ".join(errors))
    return tuple(swept)
