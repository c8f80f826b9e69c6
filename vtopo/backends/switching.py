"""Bridges and their ports: what they are told as requests to the kernel, and what the kernel has as it was told.

Each request says what differs from what is there. A bridge that tells VLANs apart gives its ports none by itself
(a default PVID of 0): what is said of them is all.
"""

from __future__ import annotations

import struct
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

from vtopo.backends import messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.messages import attribute, ifinfo, message, u32
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.compile.resources import Bridge, BridgePort
from vtopo.compile.resources.ports import PLAIN, vlan_ranges, vlan_text

# linux/if_link.h
_FORWARD_DELAY, _HELLO_TIME, _MAX_AGE, _AGEING, _STP, _PRIORITY = 1, 2, 3, 4, 5, 6
_FILTERING, _SNOOPING, _DEFAULT_PVID = 7, 23, 39
_COST, _LEARNING, _UNICAST_FLOOD, _ISOLATED = 3, 8, 9, 33
_OF_PORTS = frozenset((_COST, _LEARNING, _UNICAST_FLOOD, _ISOLATED))
_OF_BRIDGES = frozenset(
    (_FORWARD_DELAY, _HELLO_TIME, _MAX_AGE, _AGEING, _STP, _PRIORITY, _FILTERING, _SNOOPING)
)
# linux/if_bridge.h
_BRIDGE_FLAGS, _VLAN_INFO, _SELF = 0, 2, 2
_PVID, _UNTAGGED, _BEGIN, _END = 2, 4, 8, 16
_RTEXT_FILTER_BRVLAN_COMPRESSED = 4

_MS_A_TICK = 10
"""The kernel counts a bridge's times in hundredths of a second (USER_HZ)."""
_VETHS_COST = 2
"""What the kernel chooses for 10 Gbit/s (port_cost in net/bridge/br_if.c), which a veth says that it has."""

Vlans: TypeAlias = "list[tuple[int, int, int]]"
"""Stretches of VLANs: the first, the last, and whether they are the untagged and tagless ones (BRIDGE_VLAN_INFO_*)."""


class SeenLink(Protocol):
    """What is asked of an interface that the kernel told of (dump.Link)."""

    @property
    def index(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def slave(self) -> bytes: ...


def u16(kind: int, value: int) -> bytes:
    """A number of two bytes as an attribute."""
    return attribute(kind, struct.pack("=H", value))


def u8(kind: int, value: int) -> bytes:
    """A number of one byte as an attribute."""
    return attribute(kind, bytes((value,)))


# Requests


_DEFAULT = Bridge(id="", netns="", name="", mac="", mtu=0)


def born(r: Bridge, index: int) -> bytes:
    """A bridge, still down.

    It is born with another MTU than its own: only an MTU that was changed stays, any other follows the ports.
    """
    payload = ifinfo(index) + attribute(m.IFLA_IFNAME, r.name.encode() + b"\0")
    payload += u32(m.IFLA_MTU, r.mtu + 1 if r.mtu < 65535 else r.mtu - 1)
    payload += attribute(m.IFLA_ADDRESS, m.mac_bytes(r.mac)) + u32(m.IFLA_GROUP, m.GROUP)
    data = u32(_STP, r.stp) + b"".join(_options(replace(_DEFAULT, stp=r.stp), r))
    payload += attribute(
        m.IFLA_LINKINFO, attribute(m.IFLA_INFO_KIND, b"bridge\0") + attribute(m.IFLA_INFO_DATA, data)
    )
    return message(m.RTM_NEWLINK, m.CREATE, payload)


def bridge_changes(index: int, was: Bridge, r: Bridge, had: Vlans) -> Iterator[bytes]:
    """The requests that lead from what a bridge does to what it is to do; `had` are its own interface's VLANs."""
    if data := b"".join(_options(was, r)):
        info = attribute(m.IFLA_INFO_KIND, b"bridge\0") + attribute(m.IFLA_INFO_DATA, data)
        yield message(m.RTM_NEWLINK, m.CHANGE, ifinfo(index) + attribute(m.IFLA_LINKINFO, info))
    if (was.vlan, was.trunk, was.aware) != (r.vlan, r.trunk, r.aware):
        yield from vlan_changes(index, had, r.vlan, r.trunk, own=True)


def _options(was: Bridge, r: Bridge) -> Iterator[bytes]:
    """What differs, in the order of the kernel's numbers; a spanning tree begins once its times are known."""
    for kind, name in _TIMES.items():
        if getattr(was, name) != getattr(r, name):
            yield u32(kind, getattr(r, name) // _MS_A_TICK)
    if was.stp != r.stp:
        yield u32(_STP, r.stp)
    if was.priority != r.priority:
        yield u16(_PRIORITY, r.priority)
    if was.aware != r.aware:
        yield u8(_FILTERING, r.aware)
    if was.snooping != r.snooping:
        yield u8(_SNOOPING, r.snooping)
    if was.aware != r.aware:
        yield u16(_DEFAULT_PVID, 0 if r.aware else 1)


_TIMES = {
    _FORWARD_DELAY: "forward_delay",
    _HELLO_TIME: "hello_time",
    _MAX_AGE: "max_age",
    _AGEING: "ageing",
}


def port_changes(index: int, was: BridgePort | None, port: BridgePort | None, had: Vlans) -> Iterator[bytes]:
    """The requests that lead from what a port is told to what it is to be told; `had` are the VLANs that it is in."""
    was, port = was or PLAIN, port or PLAIN
    data = b""
    if was.cost != port.cost:
        data += u32(_COST, port.cost or _VETHS_COST)
    for kind, name in ((_LEARNING, "learning"), (_UNICAST_FLOOD, "flood"), (_ISOLATED, "isolated")):
        if getattr(was, name) != getattr(port, name):
            data += u8(kind, getattr(port, name))
    if data:
        info = attribute(m.IFLA_INFO_SLAVE_KIND, b"bridge\0") + attribute(m.IFLA_INFO_SLAVE_DATA, data)
        yield message(m.RTM_NEWLINK, m.CHANGE, ifinfo(index) + attribute(m.IFLA_LINKINFO, info))
    if (was.vlan, was.trunk) != (port.vlan, port.trunk):
        yield from vlan_changes(index, had, port.vlan, port.trunk, own=False)


def vlan_changes(index: int, had: Vlans, vlan: int, trunk: str, *, own: bool) -> Iterator[bytes]:
    """The requests that put a port, or a bridge's own interface, into its VLANs, and take it out of others."""
    wanted = {v for first, last in vlan_ranges(trunk) for v in range(first, last + 1)} | {vlan} - {0}
    gone = {v for first, last, _ in had for v in range(first, last + 1)} - wanted
    if gone:
        yield _vlans(m.RTM_DELLINK, index, [(a, b, 0) for a, b in vlan_ranges(vlan_text(gone))], own)
    told = [(vlan, vlan, _PVID | _UNTAGGED)] if vlan else []
    told += [(first, last, 0) for first, last in vlan_ranges(trunk)]
    if told:
        yield _vlans(m.RTM_SETLINK, index, told, own)


def _vlans(kind: int, index: int, vlans: Vlans, own: bool) -> bytes:
    spec = u16(_BRIDGE_FLAGS, _SELF) if own else b""
    for first, last, flags in vlans:
        if first == last:
            spec += attribute(_VLAN_INFO, struct.pack("=HH", flags, first))
        else:
            spec += attribute(_VLAN_INFO, struct.pack("=HH", flags | _BEGIN, first))
            spec += attribute(_VLAN_INFO, struct.pack("=HH", flags | _END, last))
    return message(kind, m.CHANGE, ifinfo(index, family=m.AF_BRIDGE) + attribute(m.IFLA_AF_SPEC, spec))


# What the kernel has


def is_aware(data: bytes) -> bool:
    """Whether a bridge, by what the kernel says of it, tells VLANs apart."""
    return attributes(data, 0, len(data), frozenset((_FILTERING,))).get(_FILTERING, b"\0") != b"\0"


def read_vlans(sock: NetlinkSocket) -> Mapping[int, Vlans]:
    """The VLANs of all ports of a namespace, and of the bridges' own interfaces, by their index."""
    payload = ifinfo(0, family=m.AF_BRIDGE) + u32(m.IFLA_EXT_MASK, _RTEXT_FILTER_BRVLAN_COMPRESSED)
    request = message(m.RTM_GETLINK, m.NLM_F_REQUEST | m.NLM_F_DUMP, payload)
    found: dict[int, Vlans] = defaultdict(list)
    for data, at, end in sock.dump(request):
        (index,) = struct.unpack_from("=i", data, at + 4)
        spec = attributes(data, at + 16, end, frozenset((m.IFLA_AF_SPEC,))).get(m.IFLA_AF_SPEC, b"")
        found[index] += told_vlans(spec)
    return found


def told_vlans(spec: bytes) -> Vlans:
    """The VLANs in an IFLA_AF_SPEC: each an attribute of its own, a stretch two."""
    found: Vlans = []
    begin = at = 0
    while at + 8 <= len(spec):
        size, kind, flags, vlan = struct.unpack_from("=HHHH", spec, at)
        if size < 4:
            break
        if kind & m.NLA_TYPE == _VLAN_INFO:
            if flags & _BEGIN:
                begin = vlan
            else:
                found.append((begin if flags & _END else vlan, vlan, flags & (_PVID | _UNTAGGED)))
        at += (size + 3) & ~3
    return found


def _untagged_and_tagged(vlans: Vlans) -> tuple[int, str]:
    """As a resource says it; a VLAN that is neither quite is told with the letter of what it lacks or has too much."""
    untagged = next((first for first, _, flags in vlans if flags == _PVID | _UNTAGGED), 0)
    odd = [
        f"{first}{'u' if flags == _UNTAGGED else 'p'}"
        for first, _, flags in vlans
        if flags in (_PVID, _UNTAGGED)
    ]
    tagged = vlan_text(v for first, last, flags in vlans if not flags for v in range(first, last + 1))
    return untagged, ",".join(filter(None, (tagged, *odd)))


def as_bridge(r: Bridge, link: SeenLink, vlans: Sequence[tuple[int, int, int]]) -> Bridge:
    """A bridge as the kernel has it; what its clock rounds, and what a kernel says nothing of, as it is wanted."""
    a = attributes(link.data, 0, len(link.data), _OF_BRIDGES)
    aware = _number(a.get(_FILTERING, b"\0")) != 0
    vlan, trunk = _untagged_and_tagged(list(vlans)) if aware else (0, "")
    found = replace(
        r,
        forward_delay=_time(a.get(_FORWARD_DELAY), r.forward_delay),
        hello_time=_time(a.get(_HELLO_TIME), r.hello_time),
        max_age=_time(a.get(_MAX_AGE), r.max_age),
        ageing=_time(a.get(_AGEING), r.ageing),
        stp=_number(a.get(_STP, b"\0")) != 0,
        priority=_number(a[_PRIORITY]) if _PRIORITY in a else r.priority,
        snooping=_number(a[_SNOOPING]) != 0 if _SNOOPING in a else r.snooping,
        aware=aware,
        vlan=vlan,
        trunk=trunk,
    )
    return r if found == r else found


def _time(raw: bytes | None, wanted: int) -> int:
    seen = _number(raw) * _MS_A_TICK if raw is not None else wanted
    return wanted if abs(seen - wanted) <= _MS_A_TICK else seen


def as_port(
    wanted: BridgePort | None, link: SeenLink, vlans: Sequence[tuple[int, int, int]]
) -> BridgePort | None:
    """What a port was told, by what the kernel says of it; None if nothing."""
    a = attributes(link.slave, 0, len(link.slave), _OF_PORTS)
    vlan, trunk = _untagged_and_tagged(list(vlans)) if vlans else (0, "")
    cost = _number(a.get(_COST, b""))
    found = BridgePort(
        vlan=vlan,
        trunk=trunk,
        isolated=_number(a.get(_ISOLATED, b"\0")) != 0,
        learning=_number(a.get(_LEARNING, b"\1")) != 0,
        flood=_number(a.get(_UNICAST_FLOOD, b"\1")) != 0,
        cost=cost if wanted is not None and wanted.cost else 0,
    )
    if found == (wanted or PLAIN):
        return wanted
    return found if found != PLAIN else None


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)


# Addresses that are behind a port


def static_mac(index: int, mac: str, vlan: int, kind: int = m.RTM_NEWNEIGH) -> bytes:
    """A forwarding entry of a bridge that neither ages nor moves; it takes the place of one that was learned."""
    state = m.NUD_NOARP | m.NUD_REACHABLE
    payload = struct.pack("=BxxxiHBB", m.AF_BRIDGE, index, state, m.NTF_MASTER, 0)
    payload += attribute(m.NDA_LLADDR, m.mac_bytes(mac)) + (u16(m.NDA_VLAN, vlan) if vlan else b"")
    return message(kind, m.REPLACE if kind == m.RTM_NEWNEIGH else m.CHANGE, payload)


# Requests in words, as ip-link(8) and bridge(8) write them


_WORDS = {
    _FORWARD_DELAY: "forward_delay",
    _HELLO_TIME: "hello_time",
    _MAX_AGE: "max_age",
    _AGEING: "ageing_time",
    _STP: "stp_state",
    _PRIORITY: "priority",
    _FILTERING: "vlan_filtering",
    _SNOOPING: "mcast_snooping",
    _DEFAULT_PVID: "vlan_default_pvid",
}
_PORT_WORDS = {
    _LEARNING: "learning",
    _UNICAST_FLOOD: "flood",
    _ISOLATED: "isolated",
    m.IFLA_BRPORT_NEIGH_SUPPRESS: "neigh_suppress",
}


def bridge_words(data: bytes) -> Iterator[str]:
    """What a request says of a bridge."""
    for kind, value in attributes(data, 0, len(data)).items():
        yield f"{_WORDS.get(kind, kind)} {_number(value)}"


def port_words(data: bytes) -> Iterator[str]:
    """What a request says of a port."""
    for kind, value in attributes(data, 0, len(data)).items():
        if kind == _COST:
            yield f"cost {_number(value)}"
        else:
            yield f"{_PORT_WORDS.get(kind, kind)} {'on' if _number(value) else 'off'}"


def vlan_words(spec: bytes) -> Iterator[str]:
    """What a request says of VLANs."""
    for first, last, flags in told_vlans(spec):
        yield f"vid {first}-{last}" if last > first else f"vid {first}"
        if flags & _PVID:
            yield "pvid"
        if flags & _UNTAGGED:
            yield "untagged"
