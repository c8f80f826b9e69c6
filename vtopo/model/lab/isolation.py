"""What a host has of its own: its namespaces, whose ids its own are, and the tree that is its root."""

from __future__ import annotations

from vtopo.model.kinds import USUAL
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class IdMap:
    """`count` ids from `inside` on are, outside, those from `outside` on (user_namespaces(7))."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


@dataclass(frozen=True, slots=True)
class Isolation:
    """How a host that says anything of it is set apart.

    `namespaces` in the order of vtopo.model.kinds. Without maps a user namespace has every id
    of the machine. `rootfs` is a folder of the machine; None: the machine's own root.
    """

    namespaces: tuple[str, ...] = USUAL
    uids: tuple[IdMap, ...] = ()
    gids: tuple[IdMap, ...] = ()
    rootfs: str | None = None
