"""What hosts live in: the scratch, network namespaces, hosts."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal

from vtopo.compile.resources.base import OPTIONAL, Resource
from vtopo.model.id_map import IdMap
from vtopo.model.kinds import USUAL
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Resource):
    """The lab's tmpfs under the run directory: a skeleton layer and every host's copy-on-write layer.

    `names` are the lines that every host finds in its /etc/hosts besides localhost's; its name servers in
    /etc/resolv.conf are none, or the machine's (`outdated`: those that the machine no longer asks).
    """

    kind: ClassVar[str] = "scratch"
    in_place: ClassVar[frozenset[str]] = frozenset({"names", "resolvers"})
    names: str = ""
    resolvers: Literal["none", "the machine's", "outdated"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Netns(Resource):
    """A network namespace without processes, held by its name: the lab's fabric, where its bridges live."""

    kind: ClassVar[str] = "netns"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Resource):
    """A light machine: `namespaces` of its own around an init that reaps.

    `node` is its full name in the lab, `name` that of its network namespace where `ip netns` finds it, if it has one.
    `uids` and `gids` are what the ids of its user namespace are outside; without any, they are the machine's. `rootfs`
    is the folder that is its root, copy-on-write; the machine's own if None. `env` has the `KEY=value`s of what is run
    in it by hand.
    """

    kind: ClassVar[str] = "host"
    in_place: ClassVar[frozenset[str]] = frozenset({"name", "paused", "env"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    node: str
    name: str
    hostname: str
    paused: bool = field(default=False, metadata=OPTIONAL)
    namespaces: tuple[str, ...] = field(default=USUAL, metadata=OPTIONAL)
    uids: tuple[IdMap, ...] = field(default=(), metadata=OPTIONAL)
    gids: tuple[IdMap, ...] = field(default=(), metadata=OPTIONAL)
    rootfs: str | None = field(default=None, metadata=OPTIONAL)
    env: tuple[str, ...] = field(default=(), metadata=OPTIONAL)

    @property
    def has_net(self) -> bool:
        """Whether it has a network of its own."""
        return "net" in self.namespaces
