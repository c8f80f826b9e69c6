"""What a backend is: the one place that touches one system of the world, in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from vtopo.backends.handle import BackendError, Handle
from vtopo.compile.resources import Resource
from vtopo.values import dataclass

__all__ = [
    "Backend",
    "BackendError",
    "Call",
    "Done",
    "Failed",
    "Handle",
    "Outcome",
    "Present",
    "Watch",
    "Weigh",
    "Weight",
]


@dataclass(frozen=True, slots=True)
class Done:
    """The resource `id` was made, changed or removed."""

    id: str
    handle: Handle = Handle()


@dataclass(frozen=True, slots=True)
class Failed:
    """The resource `id` was not; `reason` is the system's own text, `errno` its number where it has one."""

    id: str
    reason: str
    errno: int = 0


Outcome = Done | Failed


@dataclass(frozen=True, slots=True)
class Present:
    """What was seen of a recorded resource: it exists, and `found` is its spec as the system tells it.

    `found` equals the recorded resource where nothing has drifted.
    """

    found: Resource
    handle: Handle = Handle()


@dataclass(frozen=True, slots=True)
class Weight:
    """What one resource asks of the machine while it gets ready.

    `cpu` is how many CPUs that keeps busy, `memory` the bytes that it takes (and keeps, once it runs).
    """

    cpu: float = 0.5
    memory: int = 0


Weigh: TypeAlias = Callable[[Resource], Weight]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a system, as its own tools would write it, for the step of the resource `id`.

    `error` is what the system answered, empty if it did as asked.
    """

    id: str
    text: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far the fetching or building of something large is: `done` of `total` bytes, 0 of 0 while that is not known.

    `what` is what goes on, such as `pulling alpine:3.20`.
    """

    what: str
    done: int = 0
    total: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """What a run and its backends let each other know: who made the backends gives it to them and to the run.

    `stop` is set when the run has failed or been interrupted: whoever waits for something to get ready gives
    up, takes away what it made, and yields Failed with ECANCELED. While the run is undone it is not set.
    `transfers` tells how far what is large has come.
    `calls` is None unless somebody wants to see them: `if watch.calls is not None: watch.calls.put(Call(…))`.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    calls: SimpleQueue[Call] | None = None
    transfers: SimpleQueue[Transfer] = field(default_factory=SimpleQueue)


class Backend(Protocol):
    """One system of the world. Each call takes resources of `kinds` only; a create or update batch has one kind.

    `handles` maps ids of existing namespaces (Netns, Host) to their handles; the executor keeps it current.
    Each method yields one outcome per resource, as soon as it is known, in any order; it raises nothing
    for what goes wrong with one resource. BackendError is for the system being out of reach as a whole.

    `slow` are those of `kinds` whose steps take long and need nobody (containers, machines, whatever waits to
    get ready), with what one of them weighs. Each of their steps is a call of its own, with a batch of one,
    in a thread of its own, beside other such calls to the same backend: as many as the machine carries.
    """

    kinds: frozenset[str]
    slow: Mapping[str, Weigh]

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What exists of the recorded resources; absent ids do not exist (any more)."""
        ...

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Those of a batch, about to be made or changed, that this machine cannot do, and why; touches nothing."""
        ...

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make each resource, marked as vtopo's own; what is in its place and not ours is left alone: that fails."""
        ...

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change each (from, to) pair in place; they differ only in the kind's `in_place` fields."""
        ...

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Remove each resource; one that is already gone is done."""
        ...

    def traces(self) -> Sequence[str]:
        """Descriptions of what carries this lab's marks now; nothing is touched."""
        ...

    def sweep(self) -> Sequence[str]:
        """Remove all that carries this lab's marks, whatever the records say; descriptions of what was removed."""
        ...
