"""What hosts live in: the scratch, network namespaces, hosts."""

from __future__ import annotations

from typing import ClassVar

from vtopo.compile.resources.base import Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Resource):
    """The lab's tmpfs under the run directory: a skeleton layer and every host's copy-on-write layer.

    `names` are the lines that every host finds in its /etc/hosts besides localhost's.
    """

    kind: ClassVar[str] = "scratch"
    in_place: ClassVar[frozenset[str]] = frozenset({"names"})
    names: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Netns(Resource):
    """A network namespace without processes, held by its name: the lab's fabric, where its bridges live."""

    kind: ClassVar[str] = "netns"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Resource):
    """A light machine: own pid, net, mnt, uts and ipc namespaces around an init that reaps.

    `node` is its full name in the lab, `name` that of its network namespace where `ip netns` finds it.
    """

    kind: ClassVar[str] = "host"
    in_place: ClassVar[frozenset[str]] = frozenset({"name", "paused"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    node: str
    name: str
    hostname: str
    paused: bool = False
