"""What will be done to the world, as values: steps, what each waits for, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from vtopo.compile.resources import Resource
from vtopo.values import dataclass


class Action(StrEnum):
    """The exact names of what can happen to a resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    NOOP = "no-op"


Value = None | bool | int | str


@dataclass(frozen=True, slots=True)
class Change:
    """A field that differs, dotted where it is nested (`left.mtu`)."""

    field: str
    old: Value
    new: Value

    def __str__(self) -> str:
        if any(isinstance(value, str) and "\n" in value for value in (self.old, self.new)):
            return f"{self.field} changed"  # a text of many lines, as a file's
        return f"{self.field} {_shown(self.old)} → {_shown(self.new)}"


def _shown(value: Value) -> str:
    return "none" if value is None or value == "" else str(value)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a backend does to one resource.

    `action` is create, update or delete; `change` is what the reader calls it: both steps of a replacement
    say replace there. `resource` is what will be, for a delete what is; `previous` is what stood in its
    place. `needs` are the positions in the plan of the steps that must be over first. A step that
    `goes_with` a container is not carried out: the container's end is its end. `takes_along` are the ids of
    those that nobody asked to change, and that are made anew or go since this one does.
    """

    action: Action
    change: Action
    resource: Resource
    previous: Resource | None
    reason: str
    changed: tuple[Change, ...] = ()
    needs: tuple[int, ...] = ()
    goes_with: str | None = None
    takes_along: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A DAG of steps, and what stays as it is.

    `unchanged` counts the resources that need nothing. `recorded_otherwise` are those among them whose
    record differs from what the lab now says without the world having to change (their needs, say).
    """

    steps: tuple[Step, ...] = ()
    unchanged: int = 0
    recorded_otherwise: tuple[Resource, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def counts(self) -> Mapping[Action, int]:
        """How many resources are created, updated, replaced, deleted and left alone."""
        seen = Counter(
            step.change
            for step in self.steps
            if step.action is not Action.DELETE or step.change is Action.DELETE
        )
        seen[Action.NOOP] = self.unchanged
        return {action: seen[action] for action in Action}

    @property
    def summary(self) -> str:
        """The counts in words: `3 to create, 1 to replace, 40 unchanged`."""
        counts = self.counts
        parts = [f"{counts[a]} to {a}" for a in Action if a is not Action.NOOP and counts[a]]
        if self.unchanged:
            parts.append(f"{self.unchanged} unchanged")
        return ", ".join(parts) or "nothing to do"
