"""A frame in words, on one line, as tcpdump(8) tells it; what a VXLAN tunnel carries is told behind it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from vtopo.packets.frame import RAW_IP

VXLAN = 4789
_MOST_NESTED = 4  # tunnels within tunnels; whoever makes more wants to see the program fail

_ETHERTYPES = {
    0x8847: "MPLS unicast",
    0x8848: "MPLS multicast",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE session",
    0x8809: "Slow protocols (LACP)",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88F7: "PTP",
}
_PROTOCOLS = {
    0: "hop-by-hop",
    2: "igmp",
    4: "IP-in-IP",
    41: "IPv6-in-IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
    132: "SCTP",
}
_ICMP = {
    0: "echo reply",
    3: "unreachable",
    5: "redirect",
    8: "echo request",
    9: "router advertisement",
    10: "router solicitation",
    11: "time exceeded",
    12: "parameter problem",
}
_UNREACHABLE = {
    0: "net",
    1: "host",
    2: "protocol",
    3: "port",
    4: "need to frag",
    9: "net prohibited",
    10: "host prohibited",
    13: "admin prohibited",
}
_ICMP6 = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    132: "multicast listener done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbor solicitation",
    136: "neighbor advertisement",
    137: "redirect",
    143: "multicast listener report v2",
}
_ECHOES = {"echo request", "echo reply"}
_TCP_FLAGS = ((2, "S"), (1, "F"), (4, "R"), (8, "P"), (16, "."), (32, "U"), (64, "E"), (128, "W"))
_EXTENSIONS = {0, 43, 60, 135}  # of IPv6, with a length in units of 8 bytes (RFC 8200, 4)
_FRAGMENT = 44


def told(data: bytes, link_type: int) -> str:
    """A frame in words; one that is cut short or makes no sense is told as far as it does."""
    try:
        return _ip(data, 0) if link_type == RAW_IP else _ethernet(data, 0)
    except (struct.error, IndexError, ValueError):
        return f"{_source_and_target(data)}truncated, length {len(data)}"


def _source_and_target(data: bytes) -> str:
    return f"{data[6:12].hex(':')} > {data[:6].hex(':')}, " if len(data) >= 12 else ""


def _ethernet(data: bytes, depth: int) -> str:
    (kind,) = struct.unpack_from("!H", data, 12)
    at, tags = 14, ""
    while kind in (0x8100, 0x88A8):
        tag, kind = struct.unpack_from("!HH", data, at)
        at += 4
        tags += f"vlan {tag & 0xFFF}, " + (f"p {tag >> 13}, " if tag >> 13 else "")
    body = data[at:]
    if kind in (0x0800, 0x86DD):
        return tags + _ip(body, depth)
    if kind in (0x0806, 0x8035):
        return tags + _arp(body)
    if kind < 0x0600:
        return f"{tags}{_source_and_target(data)}{_llc(body[:kind])}, length {kind}"
    name = _ETHERTYPES.get(kind, f"ethertype 0x{kind:04x}")
    return f"{tags}{_source_and_target(data)}{name}, length {len(body)}"


def _llc(body: bytes) -> str:
    if body[:3] == b"\x42\x42\x03":
        kind = {0: "Config", 2: "Rapid config", 0x80: "Topology change"}.get(body[6], "other")
        return f"STP, {kind}"
    return f"LLC, dsap 0x{body[0]:02x}, ssap 0x{body[1]:02x}"


def _arp(body: bytes) -> str:
    hardware, protocol, hlen, plen, operation = struct.unpack_from("!HHBBH", body)
    if (hardware, protocol, hlen, plen) != (1, 0x0800, 6, 4) or len(body) < 28:
        return f"ARP, operation {operation}, length {len(body)}"
    sender, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
    if operation == 1:
        return f"ARP, Request who-has {target} tell {sender}"
    if operation == 2:
        return f"ARP, Reply {sender} is-at {body[8:14].hex(':')}"
    return f"ARP, operation {operation}, {sender} > {target}"


def _ip(body: bytes, depth: int) -> str:
    if body[0] >> 4 == 6:
        return _ipv6(body, depth)
    if body[0] >> 4 != 4:
        return f"IP version {body[0] >> 4}, length {len(body)}"
    total, _, offset, _, protocol = struct.unpack_from("!HHHBB", body, 2)
    source, target = str(IPv4Address(body[12:16])), str(IPv4Address(body[16:20]))
    payload = body[(body[0] & 15) * 4 : total or None]
    if offset & 0x1FFF:
        return f"IP {source} > {target}: fragment at {(offset & 0x1FFF) * 8}, length {len(payload)}"
    more = ", first fragment" if offset & 0x2000 else ""
    return f"IP {_transport(source, target, protocol, payload, depth)}{more}"


def _ipv6(body: bytes, depth: int) -> str:
    length, following = struct.unpack_from("!HB", body, 4)
    source, target = str(IPv6Address(body[8:24])), str(IPv6Address(body[24:40]))
    payload = body[40 : 40 + length if length else None]
    more = ""
    while following in _EXTENSIONS or following == _FRAGMENT:
        if following == _FRAGMENT:
            (offset,) = struct.unpack_from("!H", payload, 2)
            if offset & 0xFFF8:
                return f"IP6 {source} > {target}: fragment at {offset & 0xFFF8}, length {len(payload) - 8}"
            more = ", first fragment"
            size = 8
        else:
            size = 8 + payload[1] * 8
        following, payload = payload[0], payload[size:]
    return f"IP6 {_transport(source, target, following, payload, depth)}{more}"


def _transport(source: str, target: str, protocol: int, payload: bytes, depth: int) -> str:
    if protocol == 6:
        return _tcp(source, target, payload)
    if protocol == 17:
        return _udp(source, target, payload, depth)
    between = f"{source} > {target}: "
    if protocol == 1:
        return between + _icmp(payload)
    if protocol == 58:
        return between + _icmp6(payload)
    if protocol in (4, 41) and depth < _MOST_NESTED:
        return between + _ip(payload, depth + 1)
    return f"{between}{_PROTOCOLS.get(protocol, f'ip-proto-{protocol}')}, length {len(payload)}"


def _icmp(payload: bytes) -> str:
    kind, code = payload[0], payload[1]
    name = _ICMP.get(kind, f"type {kind}, code {code}")
    if name in _ECHOES:
        return f"ICMP {name}, {_echo(payload)}, length {len(payload)}"
    if kind == 3:
        mtu = f" (mtu {int.from_bytes(payload[6:8])})" if code == 4 else ""
        name += f", {_UNREACHABLE.get(code, f'code {code}')}{mtu}"
    return f"ICMP {name}, length {len(payload)}"


def _icmp6(payload: bytes) -> str:
    kind = payload[0]
    name = _ICMP6.get(kind, f"type {kind}, code {payload[1]}")
    if name in _ECHOES:
        name += f", {_echo(payload)}"
    elif kind == 2:
        name += f", mtu {int.from_bytes(payload[4:8])}"
    elif kind == 135:
        name += f", who has {IPv6Address(payload[8:24])}"
    elif kind == 136:
        name += f", tgt is {IPv6Address(payload[8:24])}"
    return f"ICMP6, {name}, length {len(payload)}"


def _echo(payload: bytes) -> str:
    ident, sequence = struct.unpack_from("!HH", payload, 4)
    return f"id {ident}, seq {sequence}"


def _tcp(source: str, target: str, payload: bytes) -> str:
    from_, to, sequence, acknowledged, size, bits, window = struct.unpack_from("!HHIIBBH", payload)
    flags = "".join(letter for bit, letter in _TCP_FLAGS if bits & bit) or "none"
    length = len(payload) - (size >> 4) * 4
    text = f"{source}.{from_} > {target}.{to}: Flags [{flags}], seq {sequence}"
    if bits & 16:
        text += f", ack {acknowledged}"
    return f"{text}, win {window}, length {max(length, 0)}"


def _udp(source: str, target: str, payload: bytes, depth: int) -> str:
    from_, to, length = struct.unpack_from("!HHH", payload)
    between = f"{source}.{from_} > {target}.{to}: "
    body = payload[8:]
    # The I flag and nothing else that is not reserved: a tunnel may have any port (RFC 7348, 5).
    if len(body) >= 8 + 14 and (to == VXLAN or _is_vxlan(body)) and body[0] & 8 and depth < _MOST_NESTED:
        return f"{between}VXLAN, vni {int.from_bytes(body[4:7])}: {_ethernet(body[8:], depth + 1)}"
    return f"{between}UDP, length {max(length - 8, 0)}"


def _is_vxlan(body: bytes) -> bool:
    return body[:4] == b"\x08\0\0\0" and body[7] == 0 and body[20:22] in (b"\x08\0", b"\x86\xdd", b"\x08\x06")
