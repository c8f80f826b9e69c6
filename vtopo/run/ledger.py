"""What exists of a lab at every moment of a run: in memory, and before and after each step in its records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from vtopo.backends.base import Handle, Present
from vtopo.compile.resources import Resource
from vtopo.plan.diff import diff, whole
from vtopo.plan.plan import Action, Plan, Step
from vtopo.run.events import StepFailed
from vtopo.state.folder import StateError
from vtopo.state.store import Records, Store

_NAMESPACES = frozenset({"netns", "host"})


class Ledger:
    """The one writer of a run's records. It belongs to one thread, as SQLite's connection does.

    `handles` are the current ones of what exists. A record that cannot be written is an `error`, which stops
    the run; where what exists is taken away (`lenient`), it is only noted in `unrecorded`. While `undoing`,
    what cannot be made again stays recorded as unfinished, and the next run makes it.
    """

    def __init__(self, records: Records, present: Mapping[str, Present], store: Store) -> None:
        self._store = store
        self._recorded = records.resources
        self._lacking = records.resources.keys() - present.keys() - records.unfinished
        self._exists = {id_: records.resources[id_] for id_ in records.unfinished}
        self._exists.update((id_, p.found) for id_, p in present.items())
        self._uncertain = set(records.unfinished)
        self._before = whole({id_: p.found for id_, p in present.items()})
        self.handles = {id_: h for id_, h in records.handles.items() if id_ in self._exists}
        self.handles.update((id_, p.handle) for id_, p in present.items() if _has_handle(p.found, p.handle))
        self.lenient = False
        self.undoing = False
        self.error: str | None = None
        self.unrecorded: str | None = None

    def way_back(self) -> Plan:
        """What leads from what exists to what existed before the run."""
        there = {id_: Present(r, self.handles.get(id_, Handle())) for id_, r in self._exists.items()}
        return diff(tuple(self._before.values()), self._exists, there, self._uncertain)

    def announce(self, action: Action, resources: Sequence[Resource]) -> bool:
        """Records what is about to be; False if it cannot, and then it must not be."""
        if action is Action.CREATE:
            return self._record(lambda: self._store.intend(self._to_record(resources)))
        if action is Action.DELETE:
            return self._record(lambda: self._store.leaving([r.id for r in resources]))
        return True

    def unheard(self, step: Step) -> None:
        """Nobody said what became of this one: it may be there or not, whole or in part."""
        if step.action is not Action.UPDATE:
            self._uncertain.add(step.resource.id)
        if step.action is not Action.DELETE:
            self._exists[step.resource.id] = step.resource

    def half_changed(self, step: Step) -> None:
        """An update failed, perhaps in part: to undo it is to set the old values again."""
        self._exists[step.resource.id] = step.resource

    def settle(
        self,
        action: Action,
        done: Mapping[str, tuple[Resource, Handle]],
        went: Sequence[Step],
        failed: Sequence[StepFailed],
    ) -> None:
        """Takes note of what is so now, in memory first: undo goes by that if the record fails.

        `went` are the steps that nobody carried out, since what they end was within something `done`.
        """
        failed_ids = [f.resource.id for f in failed if f.resource.id not in self._uncertain]
        if action is Action.DELETE:
            gone = [*done, *self._ended_with(done, went)]
            for id_ in gone:
                self._forget(id_)
            back = [(id_, self.handles.get(id_, Handle())) for id_ in failed_ids]
            self._record(lambda: self._store.settle(made=back, gone=gone))
            return
        for id_, (resource, handle) in done.items():
            self._exists[id_] = resource
            self._uncertain.discard(id_)
            if handle != Handle() or (action is Action.CREATE and resource.kind in _NAMESPACES):
                self.handles[id_] = handle
        if action is Action.UPDATE:
            anew = {id_: handle for id_, (_, handle) in done.items() if handle != Handle()}
            changed = self._to_record([resource for resource, _ in done.values()])
            self._record(lambda: self._store.changed(changed, anew))
        else:
            made = [(id_, handle) for id_, (_, handle) in done.items()]
            self._record(lambda: self._store.settle(made=made, gone=[] if self.undoing else failed_ids))

    def undone(self) -> None:
        """Takes note that all is as before: what was recorded and not there is so again, and shows as drift."""
        lacking = self._lacking - self._exists.keys() - self._uncertain
        if lacking:
            self._record(lambda: self._store.lacking([self._recorded[id_] for id_ in sorted(lacking)]))

    def _to_record(self, resources: Sequence[Resource]) -> Sequence[Resource]:
        """What is written of these: an undo leads back to what was found, which was not made so if it had drifted."""
        return [self._recorded.get(r.id, r) for r in resources] if self.undoing else resources

    def _record(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except StateError as e:
            if not self.lenient:
                self.error = str(e)
                return False
            # Taking away goes on without: what is gone but still recorded does no harm.
            self.unrecorded = str(e)
        return True

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
        self.handles.pop(id_, None)
        self._uncertain.discard(id_)


def _has_handle(resource: Resource, handle: Handle) -> bool:
    return handle != Handle() or resource.kind in _NAMESPACES
