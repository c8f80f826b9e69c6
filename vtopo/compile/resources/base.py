"""What every resource has: an id, what it needs, what it ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import ClassVar, TypeAlias

from vtopo.lang.source import Range
from vtopo.values import dataclass

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


OPTIONAL: Mapping[str, bool] = {"optional": True}
"""Of a field that records and artefacts leave out at its default: what few ask for is not told of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that must exist in the world.

    `needs` names the resources that must exist first, `follows` those that come first where they are made in
    the same run, and what becomes of them later does not touch this one (a daemon is started after its host's
    addresses are set, and lives on when one changes). `within` names those whose end ends this one too
    (an address goes with its interface, a veth pair with either of its namespaces); `needs` has them all.
    `origin` is where the lab's text asks for it; it takes no part in comparison.
    `in_place` lists the fields that the kernel can change without making the object anew.
    `unique` lists groups of fields whose values no two resources can hold at once: who takes a name waits
    until its former holder is gone.
    `anew` says what it means to people that this is made anew because it is to be another; empty if that goes without
    saying.
    `outlives_boot` is true of what is still there after the machine has been started anew.
    """

    kind: ClassVar[str]
    anew: ClassVar[str] = ""
    outlives_boot: ClassVar[bool] = False
    in_place: ClassVar[frozenset[str]] = frozenset()
    unique: ClassVar[tuple[tuple[str, ...], ...]] = ()

    id: str
    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = field(default=(), metadata=OPTIONAL)
    within: tuple[str, ...] = ()
    origin: Range | None = field(default=None, compare=False)

    @property
    def holds_outside(self) -> bool:
        """Whether it holds anything outside of what it is within until the kernel has cleared that away, which takes
        some time: it is deleted by itself before, so that what it held is free at once."""
        return False

    def gives_up(self, new: Resource) -> Iterable[tuple[str, ...]]:
        """The values of `unique` groups that are free once this has been changed into `new`, and were not before."""
        return ()

    def changes_in_place(self, name: str, was: Resource) -> bool:
        """Whether what `was` can be given this value of the field `name` without being made anew."""
        return name in self.in_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrealized(Resource):
    """Something that a lab asks of `owner` and that no backend makes: `up` says so, and stops before it begins."""

    kind: ClassVar[str] = "unrealized"
    owner: str
    what: str
