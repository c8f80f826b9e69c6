"""Which backend takes which kind of resource; what of a plan none can do here, and what they find of the records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vtopo.backends.base import Backend, BackendError, Failed, Present
from vtopo.compile.resources import Address, Resource
from vtopo.plan.plan import Action
from vtopo.run.events import RunFailed, StepFailed

if TYPE_CHECKING:
    from vtopo.plan.plan import Plan, Step
    from vtopo.state.store import Records


class Backends:
    """Which backend takes which kind; `slow` has the kinds that take long, with what one weighs."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.all = tuple(backends)
        self._of = {kind: backend for backend in backends for kind in backend.kinds}
        self.slow = {kind: weigh for backend in backends for kind, weigh in backend.slow.items()}

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
                reason = "this version of vtopo only checks it"
                outcomes = [Failed(id_, reason) for id_ in steps]
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
        return left_to_programs(records, present)


def left_to_programs(records: Records, present: Mapping[str, Present]) -> Mapping[str, Present]:
    """Without the addresses that a program of the lab's may have added: in a container, by `exec`, `run` or `ready`."""
    told = [r for seen in present.values() if isinstance(r := seen.found, Address) and r.others]
    if not told:
        return present
    from vtopo.compile.resources import Exec, Ready, Run

    all_ = records.resources.values()
    theirs = {r.host for r in all_ if isinstance(r, Exec | Run | Ready)}
    theirs |= {r.id for r in all_ if r.kind == "container"}
    left = dict(present)
    for r in told:
        if r.netns in theirs:
            del left[r.id]
            if r.state == "set":
                left[r.id] = Present(dataclasses.replace(r, others=()))
    return left
