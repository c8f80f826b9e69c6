"""The links of a containerlab topology, in their short and their long form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from vtopo.importing.container import Conversion
from vtopo.importing.containerlab_nodes import Clab, Topology
from vtopo.importing.flow import flow
from vtopo.importing.quantities import bounded, whole
from vtopo.importing.writing import Block, quoted
from vtopo.importing.yaml_text import Field, Fields, Items, Node, Scalar
from vtopo.lang.ast.values import IPInterface
from vtopo.model.schema import SCHEMA, Place
from vtopo.values import dataclass

_WORDS = frozenset({"host", "mgmt-net", "macvlan", "dummy"})
"""What stands in a node's place in a short form, and is no node."""
_DEVICE = re.compile(r"[^\s/:%\"\\$]{1,15}")
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_SRL = re.compile(r"ethernet-(\d+)/(\d+)(?:/(\d+))?")
_REASONS = {
    "host": "a lab has no end on the machine",
    "macvlan": "a lab has no end on the machine; an `uplink` is its way out",
    "mgmt-net": "eth0 is on Docker's bridge; a bridge of the lab can stand for another network",
    "vxlan": "an `overlay` has its ends in the lab",
    "vxlan-stitch": "an `overlay` has its ends in the lab",
}
_MAC = re.compile(r"[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}")


@dataclass
class _End:
    node: Clab
    interface: str
    rest: tuple[Field, ...] = ()
    addresses: str = ""
    mac: str = ""


class Links:
    """Writes links; an interface is the end of one."""

    def __init__(self, conversion: Conversion, topology: Topology, items: Sequence[Node]) -> None:
        self._conversion = conversion
        self._topology = topology
        self._taken: set[tuple[str, str]] = set()
        self._addresses: set[IPInterface] = set()
        self._macs: set[str] = set()
        self._items = [item for item in items if isinstance(item, Fields)]

    def write(self, item: Node, block: Block) -> None:
        """One link, or the comment that it leaves."""
        if not isinstance(item, Fields):
            self._left(block, "link", item)
            return
        kind = item.get("type")
        text = kind.text if isinstance(kind, Scalar) else ""
        endpoints = item.get("endpoints")
        if text == "dummy" and self._own(item) is not None:
            return
        if text not in ("", "veth", "veth-stitch") or not isinstance(endpoints, Items):
            self._left(block, "link", item, _REASONS.get(text, ""))
            return
        ends = [self._end(each) for each in endpoints.items]
        if len(ends) != 2 or ends[0] is None or ends[1] is None:
            words = {_node_of(each) for each in endpoints.items} & _WORDS
            why = _REASONS["host"] if words else "an end that is no node of the lab"
            self._left(block, "link", item, why)
            return
        self._link(ends[0], ends[1], item, block)

    def own(self, node: Clab, block: Block) -> None:
        """The interfaces that a node has by itself, which the file has among its links."""
        for item in self._items:
            end = self._own(item)
            if end is None or end.node is not node:
                continue
            if (node.name, end.interface) in self._taken:
                self._left(block, "link", item, "there is such an interface already")
                continue
            self._taken.add((node.name, end.interface))
            parts = ["dummy"]
            for field in (*end.rest, *item.fields):
                if field.name == "mac" and self._mac(end, field.value):
                    parts.append(end.mac.strip(" {}"))
                elif field.name == "mtu" and (said := _mtu(field.value)):
                    parts.append(f"mtu {said}")
                elif field.name not in ("type", "endpoint"):
                    self._left(block, f"{node.name}:{end.interface} {field.name}", field.value)
            name = end.interface if _BARE.fullmatch(end.interface) else quoted(end.interface)
            block.say(f"interface {name} {{ {'; '.join(parts)} }}")

    def _own(self, item: Fields) -> _End | None:
        """The end of a link that leads nowhere, if its node can make it by itself."""
        kind = item.get("type")
        if not isinstance(kind, Scalar) or kind.text != "dummy":
            return None
        end = self._long(item.get("endpoint"))
        fits = (
            end is not None
            and end.node.is_container
            and _is_device(end.interface)
            and end.interface != "eth0"
        )
        return end if fits else None

    def _end(self, node: Node) -> _End | None:
        if isinstance(node, Scalar):
            name, colon, interface = node.text.partition(":")
            found = self._topology.nodes.get(name)
            fits = (
                found is not None
                and found.links
                and colon
                and interface
                and name not in _WORDS - {found.entry.name}
            )
            return _End(found, interface) if found is not None and fits else None
        return self._long(node)

    def _long(self, node: Node | None) -> _End | None:
        if not isinstance(node, Fields):
            return None
        name, interface = node.get("node"), node.get("interface")
        found = self._topology.nodes.get(name.text) if isinstance(name, Scalar) else None
        if found is None or not found.links or not isinstance(interface, Scalar):
            return None
        rest = tuple(f for f in node.fields if f.name not in ("node", "interface"))
        return _End(found, interface.text, rest)

    def _link(self, left: _End, right: _End, item: Fields, block: Block) -> None:
        for field in item.fields:
            if field.name in ("ipv4", "ipv6"):
                texts = field.value.items if isinstance(field.value, Items) else ()
                for end, text in zip((left, right), texts, strict=False):
                    self._address(end, field.name, text, block)
                if not texts:
                    self._left(block, field.name, field.value)
        for end in (left, right):
            for field in end.rest:
                if field.name in ("ipv4", "ipv6"):
                    self._address(end, field.name, field.value, block)
                elif not (field.name == "mac" and self._mac(end, field.value)):
                    self._left(block, f"{end.node.name}:{end.interface} {field.name}", field.value)
        said = _mtu(item.get("mtu"))
        for field in item.fields:
            known = ("type", "endpoints", "ipv4", "ipv6", *(("mtu",) if said else ()))
            if field.name not in known:
                self._left(block, f"link {field.name}", field.value)
        kind = item.get("type")
        if isinstance(kind, Scalar) and kind.text == "veth-stitch":
            self._left(block, "link type", kind, "a veth pair like any other here")
        written = [f"{self._port(end, block)}{end.addresses}{end.mac}" for end in (left, right)]
        if right.mac and not said:
            # Of two blocks at the end, the first is the right end's.
            written[1] += " { }"
        tail = f" {{ mtu {said} }}" if said else ""
        block.say(f"link {written[0]} -- {written[1]}{tail}".replace(" { }", ""))

    def _port(self, end: _End, block: Block) -> str:
        """A node with its interface, if the kernel takes the name and nobody has it."""
        name = end.interface
        if srl := _SRL.fullmatch(name):
            # The kernel's name of the interface that SR Linux calls so.
            name = f"e{srl[1]}-{srl[2]}" + (f"-{srl[3]}" if srl[3] else "")
        bad = not _is_device(name)
        dockers = name == "eth0" and end.node.is_container and end.node.mode != "none"
        if bad or dockers or (end.node.name, name) in self._taken:
            why = "Docker's bridge has eth0" if dockers else "the kernel has no such name" if bad else "taken"
            self._conversion.left += 1
            block.note(f"{end.node.name}:{end.interface}  ({why}; the next free name here)")
            return end.node.name
        self._taken.add((end.node.name, name))
        if name != end.interface:
            block.note(f"{end.node.name}:{end.interface} is {name} in the kernel")
        return f"{end.node.name}:{name if _BARE.fullmatch(name) else quoted(name)}"

    def _address(self, end: _End, family: str, node: Node, block: Block) -> None:
        text = self._known(node)
        if text == "":
            return
        try:
            address = ipaddress.ip_interface(text or "x")
        except ValueError:
            address = None
        network = address.network if address is not None else None
        fits = (
            address is not None
            and network is not None
            and "/" in (text or "")
            and f"ipv{address.version}" == family
            and end.node.is_container
            and address not in self._addresses
            and not (address.is_multicast or address.is_loopback or address.is_unspecified)
            and not getattr(address, "scope_id", None)
            and (
                network.num_addresses < 4
                or address.ip not in (network.network_address, network.broadcast_address)
            )
        )
        if not fits or address is None:
            self._left(block, f"{end.node.name}:{end.interface} {family}", node)
            return
        self._addresses.add(address)
        end.addresses += f" {address}"

    def _mac(self, end: _End, node: Node) -> bool:
        text = (self._known(node) or "").lower()
        if not _MAC.fullmatch(text) or text in self._macs or end.mac or text == "00:00:00:00:00:00":
            return False
        self._macs.add(text)
        end.mac = f" {{ mac {text} }}"
        return True

    def _known(self, node: Node) -> str | None:
        return (
            self._conversion.variables.known(node.text) if isinstance(node, Scalar) and not node.tag else None
        )

    def _left(self, block: Block, name: str, node: Node, why: str = "") -> None:
        self._conversion.left += 1
        block.note(f"{name}: {flow(node)}".rstrip() + (f"  ({why})" if why else ""))


def _is_device(name: str) -> bool:
    """Whether the kernel takes a name for an interface."""
    odd = name in ("lo", "all", "default", ".", "..") or len(name.encode()) > 15
    return _DEVICE.fullmatch(name) is not None and name.isprintable() and not odd


def _mtu(node: Node | None) -> str | None:
    size = whole(node.text) if isinstance(node, Scalar) else None
    return bounded(SCHEMA[Place.LINK]["mtu"], size) if size is not None else None


def _node_of(node: Node) -> str:
    return node.text.partition(":")[0] if isinstance(node, Scalar) else ""
