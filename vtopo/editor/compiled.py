"""What of a compiled lab an editor shows: the nodes, their interfaces and addresses, as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vtopo.editor.index import Index, Symbol
from vtopo.model.lab import Interface, Lab
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """An interface: `peer` is where its link leads, or what it is without one; `mtu` in bytes."""

    name: str
    addresses: tuple[str, ...]
    mac: str
    mtu: int
    peer: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its full name."""

    name: str
    kind: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The nodes of a lab in the order of their declarations, and of each overlay what it came to."""

    nodes: tuple[Node, ...]
    overlays: Mapping[str, str]


NOTHING = Compiled((), {})


def compiled(lab: Lab) -> Compiled:
    """What there is to show of a lab."""
    ports: dict[str, list[Port]] = {}
    for link in lab.links:
        for end, other in ((link.left, link.right), (link.right, link.left)):
            ports.setdefault(end.node, []).append(_port(end, other))
    for device in lab.devices:
        ports.setdefault(device.node, []).append(
            Port(device.name, tuple(map(str, device.addresses)), device.mac, device.mtu, device.kind)
        )
    nodes = tuple(Node(name, kind, tuple(ports.get(name, ()))) for name, kind in _nodes(lab))
    overlays = {
        each.name: f"VNI {each.vni}, UDP port {each.port}, MTU {each.mtu}, {len(each.vteps)} tunnel ends"
        for each in lab.overlays
    }
    return Compiled(nodes, overlays)


def _nodes(lab: Lab) -> Iterator[tuple[str, str]]:
    """Every node's full name and kind."""
    yield from ((host.name, host.kind) for host in lab.hosts)
    yield from ((bridge.name, bridge.kind) for bridge in lab.bridges)


def _port(end: Interface, other: Interface) -> Port:
    return Port(end.name, tuple(map(str, end.addresses)), end.mac, end.mtu, other.full_name)


def nodes_of(symbol: Symbol, index: Index, lab: Compiled) -> list[Node]:
    """The compiled nodes that a symbol of the text stands for: several for an index, a loop, or in a template."""
    words: list[str] = []
    owner = symbol.owner
    if owner and " " in owner[0]:
        words.append(".+")
        owner = owner[1:]
    path = (*owner, symbol.name)
    for number, name in enumerate(path):
        prefix = (*symbol.owner[: len(symbol.owner) - len(owner)], *path[:number])
        declared = index.declared_in(prefix, name)
        indexed = declared is not None and declared.indexed
        words.append(re.escape(name) + (r"(?:[0-9]+(?:-\w+)*|(?:-\w+)+)" if indexed else ""))
    pattern = re.compile(r"\.".join(words))
    return [node for node in lab.nodes if pattern.fullmatch(node.name)]
