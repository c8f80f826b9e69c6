"""Frames of an overlay on the wire, field by field as in RFC 7348."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from cli import LABS, Vtopo, with_lab_name

ETH_P_ALL = 0x0003
ETH_P_EXPERIMENT = 0x88B5  # IEEE 802's local experimental ethertype
BROADCAST = b"\xff" * 6

pytestmark = pytest.mark.skipif(shutil.which("ping") is None, reason="needs ping(8)")


@dataclass(frozen=True)
class Ethernet:
    to: str
    source: str
    type: int
    payload: bytes


@dataclass(frozen=True)
class Ipv4:
    protocol: int
    source: str
    to: str
    payload: bytes


def ethernet(frame: bytes) -> Ethernet:
    to, source, type_ = struct.unpack_from("!6s6sH", frame)
    return Ethernet(to.hex(":"), source.hex(":"), type_, frame[14:])


def ipv4(packet: bytes) -> Ipv4:
    first, total = packet[0], int.from_bytes(packet[2:4])
    assert first >> 4 == 4
    source, to = (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
    return Ipv4(packet[9], source, to, packet[(first & 15) * 4 : total])


def captured(wire: socket.socket, seconds: float = 1.0) -> list[bytes]:
    """The frames that passed since the socket was opened, until none comes for some time; whatever waits is read."""
    frames = []
    end = time.monotonic() + 60
    wire.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < end:
            frames.append(wire.recv(65535))
    return frames


@pytest.fixture
def overlay(vtopo: Vtopo) -> Vtopo:
    vtopo("up", with_lab_name(LABS / "overlay.vlab", vtopo.lab, vtopo.folder))
    return vtopo


def test_an_inner_ping_on_the_underlay_is_as_rfc_7348_draws_it(overlay: Vtopo) -> None:
    overlay.exec("host1.a", "ping", "-c1", "-W2", "10.0.0.3")  # ARP is settled now
    with overlay.node("host1").socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.bind(("eth0", ETH_P_ALL))
        overlay.exec("host1.a", "ping", "-c1", "-W2", "-s32", "-p5a", "10.0.0.3")
        outer = [ethernet(frame) for frame in captured(wire)]

    host1, host2 = (overlay.node(h).links()["eth0"]["address"] for h in ("host1", "host2"))
    a, b = (overlay.node(n).links()["eth0"]["address"] for n in ("host1.a", "host2.b"))
    echoes = []
    for frame in outer:
        if frame.type != 0x0800:
            continue
        ip = ipv4(frame.payload)
        assert ip.protocol == socket.IPPROTO_UDP
        source_port, port, length, _checksum = struct.unpack_from("!HHHH", ip.payload)
        assert port == 4789
        assert length == len(ip.payload)
        vxlan = ip.payload[8:16]
        assert vxlan[0] == 0x08, "the I flag, and no other"
        assert vxlan[1:4] == b"\0\0\0", "reserved"
        assert int.from_bytes(vxlan[4:7]) == 100, "the VNI"
        assert vxlan[7] == 0, "reserved"
        inner = ethernet(ip.payload[16:])
        if inner.type == 0x0800 and ipv4(inner.payload).protocol == socket.IPPROTO_ICMP:
            echoes.append((frame, ip, source_port, inner, ipv4(inner.payload)))

    assert len(echoes) == 2
    (frame, ip, source_port, inner, inner_ip), (back, back_ip, _, back_inner, back_inner_ip) = echoes
    assert (frame.source, frame.to) == (host1, host2)
    assert (ip.source, ip.to) == ("192.168.1.10", "192.168.1.20")
    assert source_port >= 32768, "RFC 7348: from the dynamic range, by a hash of the inner frame"
    assert (inner.source, inner.to) == (a, b)
    assert (inner_ip.source, inner_ip.to, inner_ip.protocol) == ("10.0.0.2", "10.0.0.3", socket.IPPROTO_ICMP)
    assert inner_ip.payload[:2] == b"\x08\x00", "echo request"
    assert inner_ip.payload[-16:] == b"\x5a" * 16
    assert (back.source, back.to) == (host2, host1)
    assert (back_ip.source, back_ip.to) == ("192.168.1.20", "192.168.1.10")
    assert (back_inner.source, back_inner.to) == (b, a)
    assert (back_inner_ip.source, back_inner_ip.to) == ("10.0.0.3", "10.0.0.2")
    assert back_inner_ip.payload[:2] == b"\x00\x00", "echo reply"
    assert back_inner_ip.payload[4:] == inner_ip.payload[4:]


def test_the_largest_inner_packet_fills_the_underlay_and_no_larger_one_passes(overlay: Vtopo) -> None:
    with overlay.node("host1").socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.bind(("eth0", ETH_P_ALL))
        # 1422 bytes and 8 of ICMP and 20 of IPv4 are 1450; 50 more of VXLAN are the underlay's 1500.
        overlay.exec("host1.a", "ping", "-c1", "-W2", "-Mdo", "-s1422", "10.0.0.3")
        largest = max(len(frame) for frame in captured(wire, 0.5))
    assert largest == 1500 + 14
    too_large = overlay.exec("host1.a", "ping", "-c1", "-W1", "-Mdo", "-s1423", "10.0.0.3", status=1)
    assert "mtu=1450" in too_large.out + too_large.err


def test_a_broadcast_reaches_every_other_end_once_and_no_other_overlay(vtopo: Vtopo) -> None:
    vtopo("up", with_lab_name(LABS / "fabric.vlab", vtopo.lab, vtopo.folder))
    nodes = ("n1.web", "n2.web", "n3.web", "n2.db", "n3.db")
    wires = {
        n: vtopo.node(n).socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_EXPERIMENT))
        for n in nodes
    }
    underlay = vtopo.node("n1").socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    try:
        for wire in wires.values():
            wire.bind(("eth0", ETH_P_EXPERIMENT))
        underlay.bind(("eth0", ETH_P_ALL))
        source = bytes.fromhex(vtopo.node("n1.web").links()["eth0"]["address"].replace(":", ""))
        frame = BROADCAST + source + struct.pack("!H", ETH_P_EXPERIMENT) + b"to all".ljust(46, b"\0")
        assert wires["n1.web"].send(frame) == len(frame)
        received = {n: captured(wires[n], 0.4) for n in nodes[1:]}
        outer = [ethernet(f) for f in captured(underlay, 0.4)]
    finally:
        for wire in (*wires.values(), underlay):
            wire.close()
    assert received == {"n2.web": [frame], "n3.web": [frame], "n2.db": [], "n3.db": []}
    # Head-end replication: one unicast copy to each remote end.
    copies = [ipv4(f.payload) for f in outer if f.type == 0x0800 and f.payload.endswith(frame)]
    assert sorted(ip.to for ip in copies) == ["192.168.50.2", "192.168.50.3"]
    for one, other in pairwise(copies):
        assert one.payload[8:] == other.payload[8:]
        assert int.from_bytes(one.payload[12:15]) == 4001
