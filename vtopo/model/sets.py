"""Disjoint sets: what is joined to what, by way of others as well."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Sets(Generic[T]):
    """Disjoint sets of things (union-find with path halving)."""

    def __init__(self) -> None:
        self._above: dict[T, T] = {}

    def root(self, one: T) -> T:
        """What stands for all that `one` is joined to."""
        above = self._above
        while (up := above.setdefault(one, one)) != one:
            above[one] = above[up]
            one = up
        return one

    def join(self, one: T, other: T) -> None:
        """From now on they are in one set, which `one` stands for as it stood for its own."""
        self._above[self.root(other)] = self.root(one)
