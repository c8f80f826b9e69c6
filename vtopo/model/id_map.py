"""How the ids of a user namespace are mapped to those outside."""

from __future__ import annotations

from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class IdMap:
    """`count` ids from `inside` on are, outside, those from `outside` on (user_namespaces(7))."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"
