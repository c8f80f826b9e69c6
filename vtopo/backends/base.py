"""What a backend is: the one place that touches one system of the world, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vtopo.compile.resources import Resource


@dataclass(frozen=True, slots=True)
class Handle:
    """How a resource that exists is found again: a host's init by pid, start time and namespace inode.

    Resources that are found by name alone have an empty handle. Pid and start time (clock ticks since
    boot, field 22 of /proc/PID/stat, proc(5)) together never name two processes.
    """

    pid: int | None = None
    start: int | None = None
    inode: int | None = None


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


class Backend(Protocol):
    """One system of the world. Each call takes resources of `kinds` only; a create or update batch has one kind.

    `handles` maps ids of existing namespaces (Netns, Host) to their handles; the executor keeps it current.
    Each method yields one outcome per resource, as soon as it is known, in any order; it raises nothing
    for what goes wrong with one resource. BackendError is for the system being out of reach as a whole.
    """

    kinds: frozenset[str]

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


class BackendError(Exception):
    """A system is out of reach as a whole; the text says what to do about it."""
