"""Netlink requests as bytes (rtnetlink(7)): templates for what a lab has thousands of, and all constants."""

from __future__ import annotations

import ipaddress
import struct
from functools import lru_cache

from vtopo.values import dataclass

# Message types and header flags (linux/rtnetlink.h, linux/netlink.h).
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
CHANGE = NLM_F_REQUEST | NLM_F_ACK
REPLACE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
APPEND = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND

# Attributes of links, addresses, routes and neighbours.
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_QDISC, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 6, 10, 18
IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 26, 27, 28, 29
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, VETH_INFO_PEER = 1, 2, 4, 5, 1
IFLA_VXLAN_ID, IFLA_VXLAN_GROUP, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_TTL = 1, 2, 3, 4, 5
IFLA_VXLAN_TOS, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT, IFLA_VXLAN_GROUP6, IFLA_VXLAN_LOCAL6 = 6, 7, 15, 16, 17
IFLA_BRPORT_LEARNING, IFLA_BRPORT_NEIGH_SUPPRESS = 8, 32
IFA_ADDRESS, IFA_LOCAL, IFA_PROTO = 1, 2, 11
RTA_DST, RTA_GATEWAY, RTA_TABLE, RTA_VIA = 1, 5, 15, 18
NDA_DST, NDA_LLADDR, NDA_VLAN, NDA_MASTER, NDA_PROTOCOL = 1, 2, 5, 9, 12
NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT = 0x02, 0x40, 0x80
NTF_SELF, NTF_MASTER = 0x02, 0x04
NLA_F_NESTED, NLA_TYPE = 0x8000, 0x3FFF

AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
IFF_UP = 1
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
RT_SCOPE_UNIVERSE = 0

GROUP = 0x7674
"""The mark of every link that vtopo makes: its link group (`ip link show group 30324`)."""
GOING = 0x7675
"""The group that links are put into so that one message deletes them all."""
PROTOCOL = 118
"""The mark of every address and route that vtopo makes: its protocol (`ip route show proto 118`)."""

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_U32 = struct.Struct("=HHI")


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """A message with sequence number 0, which the socket fills in."""
    return _HEADER.pack(16 + len(payload), kind, flags, 0, 0) + payload


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded to 4 bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u32(kind: int, value: int) -> bytes:
    """A number as an attribute."""
    return _U32.pack(8, kind, value)


def ifinfo(index: int, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """The head of a link message."""
    return _IFINFO.pack(family, 0, index, flags, change)


@lru_cache(4096)
def mac_bytes(mac: str) -> bytes:
    """The six bytes of a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


@dataclass(frozen=True, slots=True)
class Birth:
    """One end of a veth pair to be made: `netns` is a descriptor, `master` an interface index or 0."""

    netns: int
    index: int
    name: str
    mac: str
    mtu: int
    master: int = 0
    is_up: bool = True


def _end(end: Birth) -> bytes:
    name = end.name.encode() + b"\0"
    return b"".join(
        (
            _NAME[len(name)].pack(4 + len(name), IFLA_IFNAME, name),
            _LINK.pack(
                *(8, IFLA_MTU, end.mtu),
                *(10, IFLA_ADDRESS, mac_bytes(end.mac)),
                *(8, IFLA_GROUP, GROUP),
                *(8, IFLA_NUM_TX_QUEUES, 1),
                *(8, IFLA_NUM_RX_QUEUES, 1),
                *(8, IFLA_NET_NS_FD, end.netns),
            ),
        )
    )


_NAME = {n: struct.Struct(f"=HH{n + -n % 4}s") for n in range(1, 17)}
_LINK = struct.Struct("=HHI HH6s2x HHI HHI HHI HHI".replace(" ", ""))
_INFO = struct.Struct("=HH HH5s3x HH HH".replace(" ", ""))


def veth(near: Birth, far: Birth) -> bytes:
    """A veth pair, each end born in its namespace; the near end is born up, if it is to be, and enslaved.

    One queue each way: a pair never has use for more, and each more costs time and memory.
    """
    peer = ifinfo(far.index) + _end(far)
    data = 4 + 4 + len(peer)
    info = _INFO.pack(
        *(4 + 12 + data, IFLA_LINKINFO),
        *(9, IFLA_INFO_KIND, b"veth\0"),
        *(data, IFLA_INFO_DATA),
        *(4 + len(peer), VETH_INFO_PEER),
    )
    master = u32(IFLA_MASTER, near.master) if near.master else b""
    payload = ifinfo(near.index, IFF_UP if near.is_up else 0, IFF_UP) + _end(near) + master + info + peer
    return message(RTM_NEWLINK, CREATE, payload)


def up(index: int, master: int = 0) -> bytes:
    """Bring an interface up and, with a master, make it its port."""
    return message(
        RTM_NEWLINK, CHANGE, ifinfo(index, IFF_UP, IFF_UP) + (u32(IFLA_MASTER, master) if master else b"")
    )


def set_link(
    index: int, mtu: int = 0, mac: str = "", group: int = -1, master: int = -1, *, is_up: bool = True
) -> bytes:
    """Change what is given of an interface, and bring it up, or down."""
    payload = ifinfo(index, IFF_UP if is_up else 0, IFF_UP)
    payload += u32(IFLA_MTU, mtu) if mtu else b""
    payload += attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
    payload += u32(IFLA_GROUP, group) if group >= 0 else b""
    payload += u32(IFLA_MASTER, master) if master >= 0 else b""
    return message(RTM_NEWLINK, CHANGE, payload)


def set_group(index: int, group: int) -> bytes:
    """Put an interface into a link group, and leave it as it is otherwise."""
    return message(RTM_NEWLINK, CHANGE, ifinfo(index) + u32(IFLA_GROUP, group))


def rename(index: int, name: str) -> bytes:
    """Give an interface that is down another name."""
    return message(RTM_NEWLINK, CHANGE, ifinfo(index) + attribute(IFLA_IFNAME, name.encode() + b"\0"))


def move_link(index: int, netns: int) -> bytes:
    """Move an interface, which goes down by that, into the namespace of a descriptor: slow, and rarely needed."""
    return message(RTM_NEWLINK, CHANGE, ifinfo(index) + u32(IFLA_NET_NS_FD, netns))


def delete_link(index: int) -> bytes:
    """Delete one interface."""
    return message(RTM_DELLINK, CHANGE, ifinfo(index))


def delete_group(group: int) -> bytes:
    """Delete all interfaces of a link group."""
    return message(RTM_DELLINK, CHANGE, ifinfo(0) + u32(IFLA_GROUP, group))


_ADDRESS = {
    4: struct.Struct("=BBBBi HH4s HH4s HHB3x".replace(" ", "")),
    16: struct.Struct("=BBBBi HH16s HH16s HHB3x".replace(" ", "")),
}


def address(index: int, spec: str, kind: int = RTM_NEWADDR) -> bytes:
    """An address such as `10.0.0.1/24` on an interface; one of IPv6 is usable at once (no detection of others)."""
    a = ipaddress.ip_interface(spec)
    raw = a.packed
    flags = IFA_F_PERMANENT | (IFA_F_NODAD if a.version == 6 else 0)
    payload = _ADDRESS[len(raw)].pack(
        *(AF_INET if a.version == 4 else AF_INET6, a.network.prefixlen, flags, 0, index),
        *(4 + len(raw), IFA_LOCAL, raw),
        *(4 + len(raw), IFA_ADDRESS, raw),
        *(5, IFA_PROTO, PROTOCOL),
    )
    return message(kind, CREATE if kind == RTM_NEWADDR else CHANGE, payload)


def route(destination: str, via: str, kind: int = RTM_NEWROUTE, table: int = RT_TABLE_MAIN) -> bytes:
    """A route of a table; a next hop of the other family goes into RTA_VIA (RFC 5549)."""
    to = ipaddress.ip_network(destination)
    hop = ipaddress.ip_address(via)
    family = AF_INET if to.version == 4 else AF_INET6
    short = table if table < 256 else 0
    payload = struct.pack("=BBBBBBBBI", family, to.prefixlen, 0, 0, short, PROTOCOL, 0, RTN_UNICAST, 0)
    if to.prefixlen:
        payload += attribute(RTA_DST, to.network_address.packed)
    if hop.version == to.version:
        payload += attribute(RTA_GATEWAY, hop.packed)
    else:
        via_family = AF_INET if hop.version == 4 else AF_INET6
        payload += attribute(RTA_VIA, struct.pack("=H", via_family) + hop.packed)
    payload += u32(RTA_TABLE, table) if table > 255 else b""
    return message(kind, CREATE if kind == RTM_NEWROUTE else CHANGE, payload)


@lru_cache  # a look at a lab asks each of its namespaces
def dump_request(kind: int, family: int = 0, of: str = "") -> bytes:
    """A request for all links (without IPv6's statistics), addresses, routes or forwarding entries.

    Links may be those `of` one kind (`veth`); a kernel that has no such kind tells of all.
    """
    flags = NLM_F_REQUEST | NLM_F_DUMP
    if kind == RTM_GETLINK:
        only = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, of.encode() + b"\0")) if of else b""
        # RTEXT_FILTER_SKIP_STATS
        return message(kind, flags, ifinfo(0, family=family) + u32(IFLA_EXT_MASK, 8) + only)
    if kind == RTM_GETADDR:
        return message(kind, flags, struct.pack("=BBBBi", family, 0, 0, 0, 0))
    if kind == RTM_GETNEIGH:
        return message(kind, flags, struct.pack("=BxxxiHBB", family, 0, 0, 0, 0))
    return message(kind, flags, struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0))
