"""Hands out a plan's steps in batches: all that is ready of one action and one kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from vtopo.plan.plan import Action, Plan, Step
from vtopo.values import dataclass

_Group: TypeAlias = tuple[Action, str]
_EMPTIED = frozenset({"cgroup"})
"""Kinds whose end takes long while anything is left in them: they end after all else that may."""
_RANK = {Action.CREATE: 0, Action.UPDATE: 1, Action.DELETE: 2}


@dataclass(frozen=True, slots=True)
class Batch:
    """Steps (positions in the plan) that can go to one backend in one call, in any order."""

    action: Action
    kind: str
    steps: tuple[int, ...]


class Order:
    """The steps of a plan by readiness; `take` a batch, say when its steps are `done`, take the next.

    Each step waits for its own needs only, so batches of different backends can be out at the same time.
    Steps of the kinds that are `slow` are taken apart from the others. Deletes are the exception: they wait
    until nothing is being made, so that a failing create or update costs nothing that runs.
    """

    def __init__(self, steps: Sequence[Step], slow: AbstractSet[str] = frozenset()) -> None:
        self._steps = steps
        self._slow = slow
        self._waits = [len(step.needs) for step in steps]
        self._then: list[list[int]] = [[] for _ in steps]
        for at, step in enumerate(steps):
            for need in step.needs:
                self._then[need].append(at)
        self._groups = [(step.action, step.resource.kind) for step in steps]
        self._left = Counter(g for g, step in zip(self._groups, steps, strict=True) if step.goes_with is None)
        self._ready: dict[_Group, list[int]] = {}
        self._out = 0
        self._making = 0
        for at, waits in enumerate(self._waits):
            if not waits:
                self._ready.setdefault(self._groups[at], []).append(at)

    def take(self) -> Batch | None:
        """The next batch; None if nothing is ready. ValueError if what is left waits in a circle."""
        if not self._ready and not self._out and self._left.total():
            raise ValueError(f"steps wait for each other in a circle: {self._circle()}")
        groups = [group for group in self._open() if group[1] not in self._slow]
        return self._hand_out(min(groups, key=self._preference)) if groups else None

    def take_slow(self) -> Sequence[Batch]:
        """All slow steps that are ready, each a batch of its own."""
        if not self._slow:
            return ()
        taken = [self._hand_out(group) for group in self._open() if group[1] in self._slow]
        return [Batch(batch.action, batch.kind, (at,)) for batch in taken for at in batch.steps]

    def _open(self) -> Sequence[_Group]:
        """The groups that may begin now."""
        making = [group for group in self._ready if group[0] is not Action.DELETE]
        return making if making or self._making else list(self._ready)

    def _hand_out(self, group: _Group) -> Batch:
        steps = tuple(self._ready.pop(group))
        self._left[group] -= len(steps)
        self._out += len(steps)
        if group[0] is not Action.DELETE:
            self._making += len(steps)
        return Batch(*group, steps)

    def done(self, steps: Iterable[int]) -> tuple[int, ...]:
        """Marks steps of a batch as over; the steps that went with them, which nobody carries out."""
        gone: list[int] = []
        queue = list(steps)
        self._out -= len(queue)
        self._making -= sum(self._steps[at].action is not Action.DELETE for at in queue)
        for at in queue:
            for then in self._then[at]:
                self._waits[then] -= 1
                if self._waits[then]:
                    continue
                if self._steps[then].goes_with is None:
                    self._ready.setdefault(self._groups[then], []).append(then)
                else:
                    gone.append(then)
                    queue.append(then)
        return tuple(gone)

    def _preference(self, group: _Group) -> tuple[int, bool, bool, int]:
        """Whole groups first, since a group handed out in parts costs a round trip for each."""
        ready = len(self._ready[group])
        last = group[0] is Action.DELETE and group[1] in _EMPTIED
        return _RANK[group[0]], last, self._left[group] > ready, -ready

    def _circle(self) -> str:
        stuck = [s.resource.id for s, waits in zip(self._steps, self._waits, strict=True) if waits]
        return ", ".join(stuck[:8])


def batches(plan: Plan) -> tuple[Batch, ...]:
    """The batches of a run in which nothing fails, one after the other."""
    order = Order(plan.steps)
    out = []
    while (batch := order.take()) is not None:
        out.append(batch)
        order.done(batch.steps)
    return tuple(out)
