"""What a host has of its own: its namespaces, whose ids its own are, and the tree that is its root."""

from __future__ import annotations

from vtopo.model.id_map import IdMap
from vtopo.model.kinds import USUAL
from vtopo.values import dataclass


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
