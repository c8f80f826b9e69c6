"""What nodes and interfaces use per second, from two readings of their counters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vtopo.backends.usage import InterfaceUsage, NodeUsage, Usage
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """What all meters read at a moment, `at` in seconds of any steady clock."""

    at: float
    nodes: tuple[NodeUsage, ...]
    interfaces: tuple[InterfaceUsage, ...]

    @staticmethod
    def of(at: float, parts: Iterable[Usage]) -> Reading:
        """One of several meters' parts."""
        all_ = list(parts)
        return Reading(
            at, tuple(n for p in all_ for n in p.nodes), tuple(i for p in all_ for i in p.interfaces)
        )


@dataclass(frozen=True, slots=True)
class NodeRates:
    """A node's usage, and per second: `cpu_percent` of one CPU, bytes `read` and `written`; None: not known."""

    usage: NodeUsage
    cpu_percent: float | None
    read: float | None
    written: float | None


@dataclass(frozen=True, slots=True)
class InterfaceRates:
    """An interface's counters, and per second: bits and packets, each way."""

    usage: InterfaceUsage
    rx_bits: float
    tx_bits: float
    rx_packets: float
    tx_packets: float


def node_rates(before: Reading, now: Reading) -> Sequence[NodeRates]:
    """Those of the nodes that there are now; one that was made in between has no rates yet."""
    seconds = max(now.at - before.at, 1e-9)
    then = {usage.node: usage for usage in before.nodes}

    def per_second(old: int | None, new: int | None) -> float | None:
        # A counter that went back is another's: the node was made anew, or a process of it has ended.
        return (new - old) / seconds if old is not None and new is not None and new >= old else None

    found = []
    for usage in now.nodes:
        old = then.get(usage.node, NodeUsage(usage.node, usage.kind))
        cpu = per_second(old.cpu, usage.cpu)
        found.append(
            NodeRates(
                usage,
                None if cpu is None else cpu / 1e4,
                per_second(old.read, usage.read),
                per_second(old.written, usage.written),
            )
        )
    return found


def interface_rates(before: Reading, now: Reading) -> Sequence[InterfaceRates]:
    """Those of the interfaces that there are now."""
    seconds = max(now.at - before.at, 1e-9)
    then = {usage.name: usage.counters for usage in before.interfaces}
    found = []
    for usage in now.interfaces:
        new, old = usage.counters, then.get(usage.name, usage.counters)
        found.append(
            InterfaceRates(
                usage,
                max(new.rx_bytes - old.rx_bytes, 0) * 8 / seconds,
                max(new.tx_bytes - old.tx_bytes, 0) * 8 / seconds,
                max(new.rx_packets - old.rx_packets, 0) / seconds,
                max(new.tx_packets - old.tx_packets, 0) / seconds,
            )
        )
    return found
