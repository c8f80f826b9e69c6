"""Netlink requests in words, decoded from their own bytes: what `-v` shows behind a step."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping

from vtopo.backends import messages as m
from vtopo.backends import own_messages, switching, traffic
from vtopo.backends.attributes import attributes
from vtopo.backends.places import place_name
from vtopo.compile.resources import Impairment

_NAMES = {
    m.RTM_NEWLINK: "RTM_NEWLINK",
    m.RTM_DELLINK: "RTM_DELLINK",
    m.RTM_SETLINK: "RTM_SETLINK",
    m.RTM_NEWADDR: "RTM_NEWADDR",
    m.RTM_DELADDR: "RTM_DELADDR",
    m.RTM_NEWROUTE: "RTM_NEWROUTE",
    m.RTM_DELROUTE: "RTM_DELROUTE",
    m.RTM_NEWNEIGH: "RTM_NEWNEIGH",
    m.RTM_DELNEIGH: "RTM_DELNEIGH",
    m.RTM_NEWQDISC: "RTM_NEWQDISC",
    m.RTM_DELQDISC: "RTM_DELQDISC",
}
# linux/if_link.h

NameOf = Callable[[str, int], str]
"""The name of the interface with an index in a namespace."""


def describe(request: bytes, place: str, place_of: Callable[[int], str], name_of: NameOf) -> str:
    """`RTM_NEWLINK veth eth0 in a mtu 1500 … peer eth0 in b …`: a request that was sent in the namespace `place`.

    `place_of` says whose namespace a descriptor is. Types that it does not know are told by their number.
    """
    kind = struct.unpack_from("=H", request, 4)[0]
    words = [_NAMES.get(kind, f"netlink message {kind}")]
    if kind in (m.RTM_NEWLINK, m.RTM_DELLINK, m.RTM_SETLINK):
        words += _Link(place, place_of, name_of).words(request[16:])
    elif kind in (m.RTM_NEWADDR, m.RTM_DELADDR):
        words += _address(request[16:], place, name_of)
    elif kind in (m.RTM_NEWROUTE, m.RTM_DELROUTE):
        words += _route(request[16:], place)
    elif kind in (m.RTM_NEWNEIGH, m.RTM_DELNEIGH):
        words += _neighbour(request[16:], place, name_of)
    elif kind in (m.RTM_NEWQDISC, m.RTM_DELQDISC):
        words += _qdisc(request, place, name_of)
    return " ".join(words)


class _Link:
    def __init__(self, place: str, place_of: Callable[[int], str], name_of: NameOf) -> None:
        self._place = place
        self._place_of = place_of
        self._name_of = name_of

    def words(self, data: bytes) -> Iterator[str]:
        a = attributes(data, 16, len(data))
        info = attributes(a[m.IFLA_LINKINFO], 0, len(a[m.IFLA_LINKINFO])) if m.IFLA_LINKINFO in a else {}
        kind = _text(info.get(m.IFLA_INFO_KIND, b""))
        if kind:
            yield kind
        if m.IFLA_INFO_SLAVE_DATA in info:
            yield "bridge_slave"
        yield from self._end(data, a)
        details = info.get(m.IFLA_INFO_DATA, b"")
        if m.IFLA_INFO_SLAVE_DATA in info:
            yield from switching.port_words(info[m.IFLA_INFO_SLAVE_DATA])
        if m.IFLA_AF_SPEC in a:
            yield from switching.vlan_words(a[m.IFLA_AF_SPEC])
        if kind == "veth":
            inner = attributes(details, 0, len(details))[m.VETH_INFO_PEER]
            yield "peer"
            yield from self._end(inner, attributes(inner, 16, len(inner)))
        elif kind == "bridge":
            yield from switching.bridge_words(details)
        elif kind in ("vlan", "bond", "vrf"):
            yield from own_messages.words(kind, details)
        elif kind == "vxlan":
            yield from self._vxlan(attributes(details, 0, len(details)))

    def _end(self, data: bytes, a: Mapping[int, bytes]) -> Iterator[str]:
        index, flags, change = struct.unpack_from("=iII", data, 4)
        place = self._place_of(_number(a[m.IFLA_NET_NS_FD])) if m.IFLA_NET_NS_FD in a else self._place
        group = _number(a[m.IFLA_GROUP]) if m.IFLA_GROUP in a else None
        if m.IFLA_IFNAME in a:
            yield _text(a[m.IFLA_IFNAME])
        elif index:
            yield self._name_of(place, index)
        else:
            yield f"all of group {group}"
        yield f"in {place_name(place)}"
        if m.IFLA_LINK in a:
            yield f"link {self._name_of(place, _number(a[m.IFLA_LINK]))}"
        if m.IFLA_MTU in a:
            yield f"mtu {_number(a[m.IFLA_MTU])}"
        if m.IFLA_ADDRESS in a:
            yield f"address {a[m.IFLA_ADDRESS].hex(':')}"
        if m.IFLA_MASTER in a:
            master = _number(a[m.IFLA_MASTER])
            yield f"master {self._name_of(place, master)}" if master else "nomaster"
        if group is not None and index:
            yield f"group {group}"
        if change & m.IFF_UP:
            yield "up" if flags & m.IFF_UP else "down"

    def _vxlan(self, a: Mapping[int, bytes]) -> Iterator[str]:
        if m.IFLA_VXLAN_ID in a:
            yield f"id {_number(a[m.IFLA_VXLAN_ID])}"
        if group := a.get(m.IFLA_VXLAN_GROUP) or a.get(m.IFLA_VXLAN_GROUP6):
            yield f"group {_ip(group)}"
        if local := a.get(m.IFLA_VXLAN_LOCAL) or a.get(m.IFLA_VXLAN_LOCAL6):
            yield f"local {_ip(local)}"
        if m.IFLA_VXLAN_LINK in a:
            yield f"dev {self._name_of(self._place, _number(a[m.IFLA_VXLAN_LINK]))}"
        if m.IFLA_VXLAN_PORT in a:
            yield f"dstport {int.from_bytes(a[m.IFLA_VXLAN_PORT], 'big')}"
        if ttl := a.get(m.IFLA_VXLAN_TTL, b"\0")[0]:
            yield f"ttl {ttl}"
        if tos := a.get(m.IFLA_VXLAN_TOS, b"\0")[0]:
            yield "tos inherit" if tos == 1 else f"tos {tos}"
        if m.IFLA_VXLAN_LEARNING in a:
            yield "learning" if a[m.IFLA_VXLAN_LEARNING] != b"\0" else "nolearning"


def _address(data: bytes, place: str, name_of: NameOf) -> Iterator[str]:
    _, prefix, _, _, index = struct.unpack_from("=BBBBi", data)
    a = attributes(data, 8, len(data))
    yield f"{_ip(a[m.IFA_LOCAL])}/{prefix} dev {name_of(place, index)} in {place_name(place)}"


def _route(data: bytes, place: str) -> Iterator[str]:
    prefix = data[1]
    a = attributes(data, 12, len(data))
    yield f"{_ip(a[m.RTA_DST])}/{prefix}" if m.RTA_DST in a else "default"
    via = a.get(m.RTA_GATEWAY) or a.get(m.RTA_VIA, b"")[2:]
    if via:
        yield f"via {_ip(via)}"
    table = _number(a[m.RTA_TABLE]) if m.RTA_TABLE in a else data[4]
    if table != m.RT_TABLE_MAIN:
        yield f"table {table}"
    yield f"in {place_name(place)}"


def _neighbour(data: bytes, place: str, name_of: NameOf) -> Iterator[str]:
    index = struct.unpack_from("=i", data, 4)[0]
    a = attributes(data, 12, len(data))
    if m.NDA_LLADDR in a:
        yield a[m.NDA_LLADDR].hex(":")
    if m.NDA_DST in a:
        yield f"dst {_ip(a[m.NDA_DST])}"
    if m.NDA_VLAN in a:
        yield f"vlan {_number(a[m.NDA_VLAN])}"
    yield f"dev {name_of(place, index)} in {place_name(place)}"


def _qdisc(request: bytes, place: str, name_of: NameOf) -> Iterator[str]:
    _, index, handle, parent, _ = traffic.TCMSG.unpack_from(request, 16)
    seen = traffic.told(request, 16, len(request))
    if seen is not None:
        yield seen[0]
    if handle:
        yield f"{handle >> 16:x}:"
    where = {traffic.ROOT: "root", traffic.INGRESS: "ingress"}.get(
        parent, f"parent {parent >> 16:x}:{parent & 0xFFFF:x}"
    )
    yield f"dev {name_of(place, index)} in {place_name(place)} {where}"
    if seen is not None and (words := str(Impairment(**seen[1]))):
        yield words


def _number(raw: bytes) -> int:
    return int.from_bytes(raw[:4], sys.byteorder)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")


def _ip(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
