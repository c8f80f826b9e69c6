"""What nodes and interfaces have used so far: the values, and who can tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from vtopo.backends.base import Handle
from vtopo.compile.resources import Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """A node's use of the machine; None: nobody counts it, or there is no limit.

    `cpu` is CPU time in µs since the node was made, `memory` what it takes now in bytes, `read` and `written` are
    bytes of block devices, `pids` processes and threads.
    """

    node: str
    kind: str
    cpu: int | None = None
    memory: int | None = None
    memory_limit: int | None = None
    read: int | None = None
    written: int | None = None
    pids: int | None = None
    pids_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What has passed an interface since it was made, as its node sees it (struct rtnl_link_stats64)."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceUsage:
    """The counters of an interface of a node; `name` is its full name in the lab, `device` that in the kernel."""

    name: str
    device: str
    counters: Counters


@dataclass(frozen=True, slots=True)
class Usage:
    """What one meter has read."""

    nodes: tuple[NodeUsage, ...] = ()
    interfaces: tuple[InterfaceUsage, ...] = ()


class Meter(Protocol):
    """Reads the usage of some kinds of resources. What is gone is left out; OSError if the system is out of reach."""

    def usage(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Usage:
        """The usage of those of the recorded that it knows, now."""
        ...
