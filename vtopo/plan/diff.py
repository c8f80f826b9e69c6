"""Compares what a lab wants with what is recorded and what is there, and says what to do, with reasons."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field

from vtopo.backends.base import Present
from vtopo.compile.resources import Resource
from vtopo.plan.lans import turned
from vtopo.plan.plan import Action, Change, Plan, Step, Value
from vtopo.values import dataclass

NEW = "new"
GONE = "gone: recorded but no longer there"
UNFINISHED = "an earlier run left it unfinished"
UNWANTED = "no longer in the lab"

# What only orders resources and says where they come from, and why; no object in the world differs by it.
_GRAPH_FIELDS = frozenset({"id", "needs", "follows", "within", "origin", "why", "lan"})


def diff(
    desired: Sequence[Resource],
    recorded: Mapping[str, Resource],
    present: Mapping[str, Present],
    unfinished: AbstractSet[str] = frozenset(),
) -> Plan:
    """The plan that leads from what is `recorded` and `present` to what is `desired`.

    `unfinished` are recorded resources that may or may not exist, whole or in part: they are cleared away
    first. ValueError if a desired resource needs one that is not desired, or an id comes twice.
    """
    wanted = {resource.id: resource for resource in desired}
    if len(wanted) != len(desired):
        raise ValueError("two desired resources have the same id")
    verdicts = _judge(wanted, recorded, present, unfinished)
    _spread(verdicts, wanted, recorded)
    return _Draft(wanted, recorded, present, verdicts).plan()


@dataclass(slots=True)
class _Verdicts:
    """What becomes of recorded resources: `ends` (id → reason) are deleted or made anew, `updates` stay."""

    ends: dict[str, str] = field(default_factory=dict)
    changed: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    """Of those that end since another does: the id of the one that it began with."""


def _judge(
    wanted: Mapping[str, Resource],
    recorded: Mapping[str, Resource],
    present: Mapping[str, Present],
    unfinished: AbstractSet[str],
) -> _Verdicts:
    """Each recorded resource by itself."""
    verdicts = _Verdicts()
    for id_, old in recorded.items():
        new = wanted.get(id_)
        seen = present.get(id_)
        if new is None:
            verdicts.ends[id_] = UNWANTED
        elif id_ in unfinished:
            verdicts.ends[id_] = UNFINISHED
        elif seen is None:
            verdicts.ends[id_] = GONE
        elif seen.found is not new and (changed := changes(seen.found, new)):
            verdicts.changed[id_] = changed
            reason = _why(changed, drifted=not changes(old, new))
            stays = all(new.changes_in_place(change.field, seen.found) for change in changed)
            if stays:
                verdicts.updates[id_] = reason
            else:
                verdicts.ends[id_] = f"{reason}; {new.anew}" if new.anew else reason
    return verdicts


def _why(changed: Sequence[Change], drifted: bool) -> str:
    text = ", ".join(str(change) for change in changed)
    return f"drifted: {text}" if drifted else text


def _spread(verdicts: _Verdicts, wanted: Mapping[str, Resource], recorded: Mapping[str, Resource]) -> None:
    """What needs a resource that ends does not outlive it: it is made anew, or goes, too."""
    if not verdicts.ends:
        return
    dependents: dict[str, list[Resource]] = defaultdict(list)
    for resource in recorded.values():
        for need in resource.needs:
            dependents[need].append(resource)
    queue = list(verdicts.ends)
    for id_ in queue:
        for dependent in dependents.get(id_, ()):
            if dependent.id not in verdicts.ends:
                verdicts.ends[dependent.id] = _taken_along(dependent, recorded[id_], id_ in wanted)
                verdicts.causes[dependent.id] = verdicts.causes.get(id_, id_)
                verdicts.updates.pop(dependent.id, None)
                queue.append(dependent.id)


def _taken_along(dependent: Resource, cause: Resource, again: bool) -> str:
    fate = "is made anew" if again else "goes away"
    if cause.id in dependent.within:
        return f"its {cause.kind} {cause.id} {fate}"
    return f"{cause.kind} {cause.id}, which it needs, {fate}"


class _Draft:
    """Turns verdicts into steps, and needs, containment and names into what each step waits for."""

    def __init__(
        self,
        wanted: Mapping[str, Resource],
        recorded: Mapping[str, Resource],
        present: Mapping[str, Present],
        verdicts: _Verdicts,
    ) -> None:
        self._wanted = wanted
        self._recorded = recorded
        self._present = present
        self._verdicts = verdicts
        self._deletes = {id_: at for at, id_ in enumerate(self._to_delete())}
        makes = [id_ for id_ in wanted if id_ in verdicts.updates or self._is_made(id_)]
        self._makes = {id_: at for at, id_ in enumerate(makes, len(self._deletes))}
        self._takes_along: dict[str, list[str]] = defaultdict(list)
        for id_, cause in verdicts.causes.items():
            self._takes_along[cause].append(id_)
        self._successors = dict(self._succeed())
        self._turned = turned(wanted, recorded) if verdicts.ends else {}

    def plan(self) -> Plan:
        kept = [r for id_, r in self._wanted.items() if id_ not in self._makes]
        return Plan(
            steps=(*self._delete_steps(), *self._make_steps()),
            unchanged=len(kept),
            recorded_otherwise=tuple(
                r for r in kept if self._recorded[r.id] is not r and self._recorded[r.id] != r
            ),
        )

    def _is_made(self, id_: str) -> bool:
        return id_ in self._verdicts.ends or id_ not in self._recorded

    def _to_delete(self) -> Iterator[str]:
        """What ends, except what is gone already; where that held others, its remains are cleared away."""
        containers = {w for r in self._recorded.values() for w in r.within} if self._verdicts.ends else ()
        for id_, reason in self._verdicts.ends.items():
            if reason is not GONE or id_ in containers:
                yield id_

    def _container(self, resource: Resource) -> str | None:
        if resource.holds_outside:
            return None
        return next((id_ for id_ in resource.within if id_ in self._deletes), None)

    def _delete_steps(self) -> Iterator[Step]:
        containers = {id_: self._container(self._recorded[id_]) for id_ in self._deletes}
        needs: dict[str, list[int]] = {id_: [] for id_ in self._deletes}
        for id_, at in self._deletes.items():
            container = containers[id_]
            if container is not None:
                needs[id_].append(self._deletes[container])
                continue
            for need in self._recorded[id_].needs:
                # What goes with a container holds nobody up: it may be waiting for that container itself.
                if need in self._deletes and containers[need] is None:
                    needs[need].append(at)
        for id_, container in containers.items():
            yield self._delete_step(id_, tuple(needs[id_]), container)

    def _delete_step(self, id_: str, needs: tuple[int, ...], container: str | None) -> Step:
        seen = self._present.get(id_)
        resource = self._recorded[id_]
        # Records know no places in a text; what is made anew has one in the text of now.
        if (new := self._wanted.get(id_)) is not None and resource.origin is None:
            resource = dataclasses.replace(resource, origin=new.origin)
        return Step(
            action=Action.DELETE,
            change=self._change(id_),
            resource=resource,
            previous=seen.found if seen else None,
            reason=self._reason(id_),
            needs=needs,
            goes_with=container,
            # The reader sees one line for both steps of a replacement: that of the new one.
            takes_along=() if id_ in self._wanted else tuple(self._takes_along.get(id_, ())),
        )

    def _reason(self, id_: str) -> str:
        reason = self._verdicts.ends.get(id_, NEW)
        if id_ in self._turned and reason in (NEW, UNWANTED):
            return self._turned[id_]
        other = self._successors.get(id_)
        if other is None:
            return reason
        return f"takes the place of {other}" if reason == NEW else f"{other} takes its place"

    def _succeed(self) -> Iterator[tuple[str, str]]:
        """Old id to new one and back, where something new takes a name from what the lab has no more: a renamed one."""
        left = {i for i in self._deletes if self._verdicts.ends[i] is UNWANTED and i not in self._wanted}
        new = [i for i in self._makes if i not in self._recorded] if left else []
        holders = {claim: i for i in left for claim in claims(self._recorded[i])} if new else {}
        for id_ in new:
            for claim in claims(self._wanted[id_]):
                old = holders.get(claim)
                if old in left and self._recorded[old].kind == self._wanted[id_].kind:
                    left.discard(old)
                    yield old, id_
                    yield id_, old
                    break

    def _change(self, id_: str) -> Action:
        """What the reader calls it: making anew what is gone is no replacement."""
        if id_ not in self._wanted:
            return Action.DELETE
        return Action.CREATE if self._verdicts.ends.get(id_, NEW) in (NEW, GONE) else Action.REPLACE

    def _make_steps(self) -> Iterator[Step]:
        freed = self._freed()
        for id_ in self._makes:
            new = self._wanted[id_]
            needs = self._made_first(new)
            if id_ in self._verdicts.updates:
                found = self._present[id_].found
                changed = self._verdicts.changed[id_]
                reason = self._verdicts.updates[id_]
                yield Step(Action.UPDATE, Action.UPDATE, new, found, reason, changed, tuple(needs))
                continue
            if freed:
                needs += self._ended_first(new, freed)
            yield Step(
                action=Action.CREATE,
                change=self._change(id_),
                resource=new,
                previous=self._recorded.get(id_),
                reason=self._reason(id_),
                changed=self._verdicts.changed.get(id_, ()),
                needs=tuple(needs),
                takes_along=tuple(self._takes_along.get(id_, ())),
            )

    def _made_first(self, new: Resource) -> list[int]:
        needs = []
        for need in new.needs:
            if need in self._makes:
                needs.append(self._makes[need])
            elif need not in self._wanted:
                raise ValueError(f"{new.id} needs {need}, which the lab does not have")
        needs += [self._makes[first] for first in new.follows if first in self._makes]
        return needs

    def _freed(self) -> Mapping[object, int]:
        """Who holds each name that is to be free."""
        if len(self._makes) == len(self._verdicts.updates):
            return {}
        freed: dict[object, int] = {
            claim: self._makes[id_]
            for id_ in self._verdicts.updates
            for claim in self._present[id_].found.gives_up(self._wanted[id_])
        }
        for id_, at in self._deletes.items():
            freed[id_] = at
            freed.update((claim, at) for claim in claims(self._recorded[id_]))
        return freed

    def _ended_first(self, new: Resource, freed: Mapping[object, int]) -> set[int]:
        return {freed[key] for key in (new.id, *claims(new)) if key in freed}


def whole(resources: Mapping[str, Resource]) -> dict[str, Resource]:
    """Those whose needs are among them, transitively: a state that can be returned to."""
    whole = dict(resources)
    lacking = [id_ for id_, r in whole.items() if any(need not in whole for need in r.needs)]
    while lacking:
        for id_ in lacking:
            del whole[id_]
        lacking = [id_ for id_, r in whole.items() if any(need not in whole for need in r.needs)]
    return whole


def changes(old: Resource, new: Resource) -> tuple[Change, ...]:
    """The fields in which two resources differ in the world."""
    if type(old) is not type(new):
        return (Change("kind", old.kind, new.kind),)
    if old == new:
        return ()
    was, will = dict(_flat(old)), dict(_flat(new))
    return tuple(Change(name, was.get(name), will.get(name)) for name in will if was.get(name) != will[name])


def claims(resource: Resource) -> Iterator[tuple[Value, ...]]:
    """The names that nobody else can hold while `resource` exists."""
    if type(resource).unique:
        values = dict(_flat(resource))
        for group in type(resource).unique:
            yield tuple(values[name] for name in group)


def _flat(resource: Resource) -> Iterator[tuple[str, Value]]:
    """Its fields, those of nested values under dotted names."""
    for f in dataclasses.fields(resource):
        if f.name in _GRAPH_FIELDS:
            continue
        value = getattr(resource, f.name)
        if dataclasses.is_dataclass(value):
            for g in dataclasses.fields(value):
                inner = getattr(value, g.name)
                yield f"{f.name}.{g.name}", str(inner) if dataclasses.is_dataclass(inner) else inner
        elif isinstance(value, tuple):
            yield f.name, ", ".join(map(str, value))
        else:
            yield f.name, value
