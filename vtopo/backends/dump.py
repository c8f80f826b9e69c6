"""What a network namespace holds, parsed from the kernel's dumps: links, addresses, routes and flood entries."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field
from typing import TypeAlias

from vtopo.backends import messages as m
from vtopo.backends import switching, traffic
from vtopo.backends.attributes import Layouts, attributes
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.compile.resources import Impairment
from vtopo.values import dataclass

_U32 = struct.Struct("=I")
_ADDRESS = struct.Struct("=xBBBi")
_LINK = struct.Struct("=4xiI")
_LINKS = Layouts(
    16,
    frozenset(
        (
            *(m.IFLA_ADDRESS, m.IFLA_IFNAME, m.IFLA_MTU, m.IFLA_LINK, m.IFLA_QDISC, m.IFLA_MASTER),
            *(m.IFLA_GROUP, m.IFLA_LINKINFO),
        )
    ),
)
_ADDRESSES = Layouts(8, frozenset((m.IFA_ADDRESS, m.IFA_LOCAL, m.IFA_PROTO)))
_MARK = bytes((m.PROTOCOL,))

AddressKey: TypeAlias = tuple[int, bytes, int]
"""An address on an interface: the interface's index, the address as the kernel has it, its prefix length."""


@dataclass(frozen=True, slots=True)
class VxlanInfo:
    """What is particular to a VXLAN device; `learning` is its bridge port's as well, None if they differ."""

    vni: int
    port: int
    local: str
    device: int
    group: str = ""
    learning: bool | None = True
    ttl: int = 0
    tos: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `link` is its peer's index (which is in another namespace), `qdisc` the kind of its root qdisc.

    `data` is what is particular to its kind, `slave` what is to it as a part of its master, both as the kernel says it.
    """

    index: int
    name: str
    is_up: bool
    mtu: int
    mac: str
    master: int
    group: int
    link: int
    kind: str
    vxlan: VxlanInfo | None = None
    qdisc: str = ""
    data: bytes = b""
    slave: bytes = b""


@dataclass(frozen=True, slots=True)
class Contents:
    """All of one namespace, as asked for. The value at an address or a route is whether it is marked."""

    links: dict[str, Link] = field(default_factory=dict)
    by_index: dict[int, Link] = field(default_factory=dict)
    addresses: dict[AddressKey, bool] = field(default_factory=dict)
    added: dict[AddressKey, str] = field(default_factory=dict)
    """The addresses that bear nobody's mark and are to last, as `ip address add` takes them.

    Neither the kernel nor DHCP has set them.
    """
    routes: dict[tuple[str, str, int], bool] = field(default_factory=dict)
    floods: frozenset[tuple[int, str]] = frozenset()
    forwards: dict[tuple[int, str], str] = field(default_factory=dict)
    neighbours: dict[tuple[int, str], str] = field(default_factory=dict)
    static_macs: frozenset[tuple[int, str, int]] = frozenset()
    vlans: Mapping[int, switching.Vlans] = field(default_factory=dict)
    impairments: dict[int, Impairment] = field(default_factory=dict)

    def name(self, index: int) -> str | None:
        """The name of the link with an index."""
        link = self.by_index.get(index)
        return link.name if link else None


def read(
    sock: NetlinkSocket,
    *,
    addresses: bool = False,
    routes: bool = False,
    entries: bool = False,
    neighbours: bool = False,
    veths: AbstractSet[str] | None = None,
) -> Contents:
    """Links always, the rest as asked for; `entries` are forwarding entries of VTEPs and bridges.

    With names of `veths`, of the links only those of this kind, if all of these are there and none is part of another.
    """
    found = links(sock, "" if veths is None else "veth")
    if veths is not None and (veths - found.keys() or any(link.master for link in found.values())):
        found = links(sock)
    floods, forwards, static_macs = _entries(sock) if entries else (frozenset(), {}, frozenset())
    tell_vlans_apart = any(link.kind == "bridge" and switching.is_aware(link.data) for link in found.values())
    own, added = _addresses(sock) if addresses else ({}, {})
    return Contents(
        found,
        {link.index: link for link in found.values()},
        own,
        added,
        dict(_routes(sock)) if routes else {},
        floods,
        forwards,
        dict(_neighbours(sock)) if neighbours else {},
        static_macs,
        switching.read_vlans(sock) if tell_vlans_apart else {},
        traffic.read(sock) if any(link.qdisc in traffic.KINDS for link in found.values()) else {},
    )


def links(sock: NetlinkSocket, of: str = "") -> dict[str, Link]:
    """The interfaces by name; those `of` one kind at least."""
    found = (_link(*part) for part in sock.dump(m.dump_request(m.RTM_GETLINK, of=of)))
    return {link.name: link for link in found}


def _link(data: bytes, at: int, end: int) -> Link:
    index, flags = _LINK.unpack_from(data, at)
    a = _LINKS.read(data, at, end)
    kind, vxlan, special, slave = _details(a.get(m.IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=a[m.IFLA_IFNAME].rstrip(b"\0").decode(),
        is_up=bool(flags & m.IFF_UP),
        mtu=_u32(a.get(m.IFLA_MTU)),
        mac=a.get(m.IFLA_ADDRESS, b"").hex(":"),
        master=_u32(a.get(m.IFLA_MASTER)),
        group=_u32(a.get(m.IFLA_GROUP)),
        link=_u32(a.get(m.IFLA_LINK)),
        kind=kind,
        vxlan=vxlan,
        qdisc=a.get(m.IFLA_QDISC, b"").rstrip(b"\0").decode(),
        data=special,
        slave=slave,
    )


@functools.lru_cache(maxsize=256)  # most of a large lab's links are veths, of which it says nothing else
def _details(info: bytes) -> tuple[str, VxlanInfo | None, bytes, bytes]:
    """A link's kind, what a VXLAN device is, and what is particular to the kind and to the master's kind."""
    details = attributes(info, 0, len(info))
    kind = details.get(m.IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    special = details.get(m.IFLA_INFO_DATA, b"")
    slave = details.get(m.IFLA_INFO_SLAVE_DATA, b"")
    vxlan = _vxlan(special, attributes(slave, 0, len(slave))) if kind == "vxlan" else None
    return kind, vxlan, special, slave


def _u32(raw: bytes | None) -> int:
    return int(_U32.unpack(raw)[0]) if raw else 0


def _vxlan(data: bytes, port: Mapping[int, bytes]) -> VxlanInfo:
    a = attributes(data, 0, len(data))
    local = a.get(m.IFLA_VXLAN_LOCAL) or a.get(m.IFLA_VXLAN_LOCAL6)
    group = a.get(m.IFLA_VXLAN_GROUP) or a.get(m.IFLA_VXLAN_GROUP6)
    learns = {a.get(m.IFLA_VXLAN_LEARNING) != b"\0", port.get(m.IFLA_BRPORT_LEARNING) != b"\0"}
    learns.add(port.get(m.IFLA_BRPORT_NEIGH_SUPPRESS, b"\0") == b"\0")
    return VxlanInfo(
        vni=_u32(a.get(m.IFLA_VXLAN_ID)),
        port=int.from_bytes(a.get(m.IFLA_VXLAN_PORT, b""), "big"),
        local=_text(local) if local else "",
        device=_u32(a.get(m.IFLA_VXLAN_LINK)),
        group=_text(group) if group else "",
        learning=learns.pop() if len(learns) == 1 else None,
        ttl=a.get(m.IFLA_VXLAN_TTL, b"\0")[0],
        tos=a.get(m.IFLA_VXLAN_TOS, b"\0")[0],
    )


def _text(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def _addresses(sock: NetlinkSocket) -> tuple[dict[AddressKey, bool], dict[AddressKey, str]]:
    """All of them with whether they are marked, and those that somebody has added."""
    found: dict[AddressKey, bool] = {}
    added: dict[AddressKey, str] = {}
    for data, at, end in sock.dump(m.dump_request(m.RTM_GETADDR)):
        prefix, flags, scope, index = _ADDRESS.unpack_from(data, at)
        a = _ADDRESSES.read(data, at, end)
        if raw := a.get(m.IFA_LOCAL) or a.get(m.IFA_ADDRESS):
            mark = a.get(m.IFA_PROTO)
            found[index, raw, prefix] = mark == _MARK
            if scope == m.RT_SCOPE_UNIVERSE and flags & m.IFA_F_PERMANENT and mark in (None, b"\0"):
                peer = a.get(m.IFA_ADDRESS, raw)
                text = _text(raw) if peer == raw else f"{_text(raw)} peer {_text(peer)}"
                added[index, raw, prefix] = f"{text}/{prefix}"
    return found, added


def _routes(sock: NetlinkSocket) -> Iterator[tuple[tuple[str, str, int], bool]]:
    for data, at, end in sock.dump(m.dump_request(m.RTM_GETROUTE)):
        family, prefix, _, _, table, protocol, _, kind = struct.unpack_from("=8B", data, at)
        if kind != m.RTN_UNICAST or family not in (m.AF_INET, m.AF_INET6):
            continue
        a = attributes(data, at + 12, end)
        number = _u32(a.get(m.RTA_TABLE)) or table
        hop = a.get(m.RTA_GATEWAY) or a.get(m.RTA_VIA, b"")[2:]
        if hop:
            to = a.get(m.RTA_DST, bytes(4 if family == m.AF_INET else 16))
            yield (f"{_text(to)}/{prefix}", _text(hop), number), protocol == m.PROTOCOL


def _entries(
    sock: NetlinkSocket,
) -> tuple[frozenset[tuple[int, str]], dict[tuple[int, str], str], frozenset[tuple[int, str, int]]]:
    """Remotes of VTEPs that get what is unknown; of MACs that VTEP and bridge agree on, the remote; and all that a
    bridge did not learn, with their VLANs."""
    floods: set[tuple[int, str]] = set()
    remotes: dict[tuple[int, str], str] = {}
    ported: set[tuple[int, str, int]] = set()
    for data, at, end in sock.dump(m.dump_request(m.RTM_GETNEIGH, m.AF_BRIDGE)):
        index, state = struct.unpack_from("=iH", data, at + 4)
        a = attributes(data, at + 12, end)
        mac, raw = a.get(m.NDA_LLADDR, b""), a.get(m.NDA_DST)
        if not state & (m.NUD_NOARP | m.NUD_PERMANENT):
            continue  # learned
        if raw and mac == bytes(6):
            floods.add((index, _text(raw)))
        elif raw:
            remotes[index, mac.hex(":")] = _text(raw)
        elif m.NDA_MASTER in a:
            ported.add((index, mac.hex(":"), int.from_bytes(a.get(m.NDA_VLAN, b""), sys.byteorder)))
    agreed = {(index, mac) for index, mac, _ in ported}
    return frozenset(floods), {k: remote for k, remote in remotes.items() if k in agreed}, frozenset(ported)


def _neighbours(sock: NetlinkSocket) -> Iterator[tuple[tuple[int, str], str]]:
    """The permanent ones."""
    for data, at, end in sock.dump(m.dump_request(m.RTM_GETNEIGH)):
        index, state = struct.unpack_from("=iH", data, at + 4)
        a = attributes(data, at + 12, end)
        if state & m.NUD_PERMANENT and (raw := a.get(m.NDA_DST)) and m.NDA_LLADDR in a:
            yield (index, _text(raw)), a[m.NDA_LLADDR].hex(":")


def address_key(index: int, spec: str) -> AddressKey:
    """Where `Contents.addresses` has an address such as `10.0.0.1/24`."""
    address, _, length = spec.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return index, socket.inet_pton(family, address), int(length)


def canonical_network(spec: str) -> str:
    """A prefix as the dumps write it."""
    n = ipaddress.ip_network(spec)
    return f"{_text(n.network_address.packed)}/{n.prefixlen}"


def canonical_address(spec: str) -> str:
    """An address as the dumps write it."""
    return _text(ipaddress.ip_address(spec).packed)
