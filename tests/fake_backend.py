"""A world in memory with the manners of the kernel, and a backend for it that can be made to fail or to die."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vtopo.backends.base import Done, Failed, Handle, Outcome, Present, Weigh
from vtopo.compile.resources import KINDS, Resource
from vtopo.plan.diff import changes, claims


class Killed(BaseException):
    """The process is dead from here on: nothing after it may count."""


@dataclass
class Fuse:
    """Burns one tick per step of a run and kills it at tick number `at`."""

    at: int = -1
    ticks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tick(self) -> None:
        with self.lock:
            if self.ticks == self.at:
                raise Killed
            self.ticks += 1


@dataclass
class World:
    """What exists. A container's end ends what is within it; a name has one holder."""

    resources: dict[str, Resource] = field(default_factory=dict)
    handles: dict[str, Handle] = field(default_factory=dict)
    born: int = 0
    foreign: set[str] = field(default_factory=set)

    def make(self, resource: Resource) -> Handle | str:
        """The handle of what was made, or why it could not be."""
        if resource.id in self.resources:
            return "File exists"
        if missing := [need for need in resource.needs if need not in self.resources]:
            return f"No such device: {missing[0]}"
        held = {claim for other in self.resources.values() for claim in claims(other)}
        if any(claim in held for claim in claims(resource)):
            return "File exists"
        self.born += 1
        handle = Handle(pid=self.born) if resource.kind == "host" else Handle()
        self.resources[resource.id] = resource
        self.handles[resource.id] = handle
        return handle

    def end(self, id_: str) -> None:
        """Ends a resource and what is within it; gone already is fine."""
        if self.resources.pop(id_, None) is None:
            return
        self.handles.pop(id_)
        for other in [r.id for r in self.resources.values() if id_ in r.within]:
            self.end(other)

    def specs(self) -> set[tuple[object, ...]]:
        """All that exists, in comparable form."""
        return {(r.kind, r.id, str(r)) for r in self.resources.values()}


Fault = Callable[[str, Resource], bool]
Pause = Callable[[str, Resource], Outcome | None]


@dataclass
class FakeBackend:
    """A backend over a `World`. `fault(action, resource)` says which steps fail; `calls` are all it was asked.

    `pause(action, resource)` comes before each step; what it returns is the step's outcome in place of its effect.
    """

    world: World
    fuse: Fuse = field(default_factory=Fuse)
    fault: Fault = lambda action, resource: False
    pause: Pause = lambda action, resource: None
    kinds: frozenset[str] = frozenset(KINDS)
    slow: Mapping[str, Weigh] = field(default_factory=dict)
    calls: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    sweeps: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Kind to why this machine cannot make it."""

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        there = self.world.resources
        return {r.id: Present(there[r.id], self.world.handles[r.id]) for r in recorded if r.id in there}

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        assert len({r.kind for r in batch}) == 1
        return self._each("create", batch, self._make(handles))

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        for old, new in batch:
            assert all(new.changes_in_place(change.field, old) for change in changes(old, new))
        return self._each("update", [new for _, new in batch], self._change)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        return self._each("delete", batch, self._end)

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        return (Failed(r.id, self.refuses[r.kind]) for r in batch if r.kind in self.refuses)

    def traces(self) -> Sequence[str]:
        return sorted(self.world.resources.keys() - self.world.foreign)

    def sweep(self) -> Sequence[str]:
        self.sweeps += 1
        swept = sorted(self.world.resources)
        self.world.resources.clear()
        self.world.handles.clear()
        return swept

    def _each(
        self, action: str, batch: Sequence[Resource], effect: Callable[[Resource], Outcome]
    ) -> Iterator[Outcome]:
        self.calls.append((action, tuple(r.id for r in batch)))
        for resource in batch:
            self.fuse.tick()
            instead = self.pause(action, resource)
            with self.lock:
                if instead is not None:
                    outcome = instead
                elif self.fault(action, resource):
                    outcome = Failed(resource.id, "No buffer space available", 105)
                else:
                    outcome = effect(resource)
            self.fuse.tick()
            yield outcome

    def _make(self, handles: Mapping[str, Handle]) -> Callable[[Resource], Outcome]:
        def effect(resource: Resource) -> Outcome:
            # A namespace is entered by its handle, so the handle must be the current one.
            for need in resource.needs:
                if self.world.resources.get(need, resource).kind == "host":
                    assert handles[need] == self.world.handles[need]
            made = self.world.make(resource)
            return Failed(resource.id, made, 17) if isinstance(made, str) else Done(resource.id, made)

        return effect

    def _change(self, resource: Resource) -> Outcome:
        if resource.id not in self.world.resources:
            return Failed(resource.id, "No such device", 19)
        self.world.resources[resource.id] = resource
        return Done(resource.id)

    def _end(self, resource: Resource) -> Outcome:
        self.world.end(resource.id)
        return Done(resource.id)
