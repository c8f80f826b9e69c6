"""Overlays with a group, over IPv6, without learning, and from loopbacks: what is on the wire, and what drifts."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest
from cli import Vtopo
from machine import LAB_PREFIX
from test_overlay import BROADCAST, ETH_P_ALL, ETH_P_EXPERIMENT, Ethernet, captured, ethernet, ipv4

LAB = """\
bridge four { subnet 192.168.50.0/24 }
bridge six { subnet 2001:db8:50::/64 }
host n[1..3] {
  bridge red; bridge green; bridge blue
  host a; host b; host c
  link a -- red; link b -- green; link c -- blue
}
link n[1..3]:four -- four
link n[1..3]:six -- six
overlay crimson {
  vni 4001; subnet 10.1.0.0/24
  group 239.1.1.1; ttl 7; tos inherit
  vtep n[1..3]:four -- n[1..3].red
}
overlay emerald {
  vni 4002; subnet 10.2.0.0/24; subnet 2001:db8:2::/64
  learning off
  vtep n[1..3]:six -- n[1..3].green
}
overlay azure { vni 4003; subnet 10.3.0.0/24; group ff05::4003; vtep n[1..3]:six -- n[1..3].blue }
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vtopo]:
    command = Vtopo(tmp_path_factory.mktemp("overlays"), f"{LAB_PREFIX}-overlays")
    command("up", command.write(LAB))
    yield command
    command.close()


def wire(vtopo: Vtopo, node: str, device: str) -> socket.socket:
    made = vtopo.node(node).socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.bind((device, ETH_P_ALL))
    return made


def broadcast(vtopo: Vtopo, node: str, text: bytes) -> bytes:
    """A frame to all, sent by a node out of eth0."""
    source = bytes.fromhex(vtopo.node(node).links()["eth0"]["address"].replace(":", ""))
    frame = BROADCAST + source + struct.pack("!H", ETH_P_EXPERIMENT) + text.ljust(46, b"\0")
    with vtopo.node(node).socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame)
    return frame


def inner(udp: bytes, vni: int) -> bytes:
    """What a VXLAN packet carries, its headers checked against RFC 7348, 5."""
    _, port, length, _ = struct.unpack_from("!HHHH", udp)
    assert (port, length) == (4789, len(udp))
    assert udp[8:12] == b"\x08\0\0\0", "the I flag, and no other"
    assert (int.from_bytes(udp[12:15]), udp[15]) == (vni, 0)
    return udp[16:]


def over_ipv6(frame: Ethernet) -> tuple[str, str, bytes]:
    """Source, target and UDP of a frame; over IPv6 it must have a checksum (RFC 8200, 8.1)."""
    assert frame.type == 0x86DD
    packet = frame.payload
    assert packet[0] >> 4 == 6
    assert packet[6] == socket.IPPROTO_UDP
    size = int.from_bytes(packet[4:6])
    source, target, udp = packet[8:24], packet[24:40], packet[40 : 40 + size]
    assert udp[6:8] != b"\0\0"
    return str(IPv6Address(source)), str(IPv6Address(target)), udp


def test_a_group_gets_one_copy_for_all_with_the_ttl_and_the_inner_tos(running: Vtopo) -> None:
    there = [wire(running, f"n{n}.a", "eth0") for n in (2, 3)]
    with wire(running, "n1", "four") as underlay:
        frame = broadcast(running, "n1.a", b"to the group")
        got = [frame in captured(each, 0.4) for each in there]
        copies = [ethernet(each) for each in captured(underlay, 0.2) if each.endswith(frame)]
        running.exec("n1.a", "ping", "-c1", "-W2", "-Q", "0xb8", "10.1.0.3")
        outer = [each for each in map(ethernet, captured(underlay, 0.3)) if each.type == 0x0800]
    for each in there:
        each.close()
    assert got == [True, True]
    (copy,) = copies
    assert copy.to == "01:00:5e:01:01:01", "the group's own MAC (RFC 1112, 6.4)"
    ip = ipv4(copy.payload)
    assert (ip.source, ip.to) == ("192.168.50.1", "239.1.1.1")
    assert inner(ip.payload, 4001) == frame
    assert copy.payload[8] == 7, "TTL"
    classes = [each.payload[1] for each in outer if ethernet(ipv4(each.payload).payload[16:]).type == 0x0800]
    assert classes == [0xB8, 0xB8], "of the echo and its reply"


def test_a_group_of_ipv6(running: Vtopo) -> None:
    there = [wire(running, f"n{n}.c", "eth0") for n in (2, 3)]
    with wire(running, "n1", "six") as underlay:
        frame = broadcast(running, "n1.c", b"to the group of six")
        got = [frame in captured(each, 0.4) for each in there]
        copies = [ethernet(each) for each in captured(underlay, 0.2) if each.endswith(frame)]
    for each in there:
        each.close()
    assert got == [True, True]
    (copy,) = copies
    assert copy.to == "33:33:00:00:40:03", "the group's own MAC (RFC 2464, 7)"
    source, target, udp = over_ipv6(copy)
    assert (source, target) == ("2001:db8:50::1", "ff05::4003")
    assert inner(udp, 4003) == frame


def test_without_learning_no_question_crosses_the_underlay(running: Vtopo) -> None:
    assert running.node("n1.b").links()["eth0"]["mtu"] == 1430, "70 bytes less over IPv6"
    with wire(running, "n1", "six") as underlay:
        running.exec("n1.b", "ping", "-c1", "-W2", "10.2.0.3")
        running.exec("n1.b", "ping", "-c1", "-W2", "2001:db8:2::2")
        outer = [each for each in map(ethernet, captured(underlay, 0.3)) if each.type == 0x86DD]
    seen = [over_ipv6(each) for each in outer if each.payload[6] == socket.IPPROTO_UDP]
    own = [(target, udp) for _, target, udp in seen if int.from_bytes(udp[12:15]) == 4002]
    carried = [(target, ethernet(inner(udp, 4002))) for target, udp in own]
    assert [each for _, each in carried if each.type == 0x0806] == [], "ARP"
    solicited = [e for _, e in carried if e.type == 0x86DD and e.payload[6] == 58 and e.payload[40] == 135]
    assert [e for e in solicited if e.payload[8:10] != b"\xfe\x80"] == []
    echoes = [(to, e.payload[9]) for to, e in carried if e.type == 0x0800]
    assert ("2001:db8:50::3", socket.IPPROTO_ICMP) in echoes
    port = running.node("n1").ip("link", "show", "vxlan4002")[0]
    assert port["linkinfo"]["info_data"]["learning"] is False
    assert port["linkinfo"]["info_slave_data"]["learning"] is False
    assert port["linkinfo"]["info_slave_data"]["neigh_suppress"] is True


def test_what_others_change_of_it_is_drift_and_up_mends_it(running: Vtopo) -> None:
    file = running.folder / f"{running.lab}.vlab"
    mac = running.node("n2.b").links()["eth0"]["address"]
    running.node("n1").bridge("fdb", "del", mac, "dev", "vxlan4002", "dst", "2001:db8:50::2", "self")
    running.node("n1").change("neigh", "del", "10.2.0.3", "dev", "green")
    running.node("n2").change("link", "set", "vxlan4001", "type", "vxlan", "ttl", "9")
    running.node("n3").change("link", "set", "vxlan4002", "type", "bridge_slave", "learning", "on")
    drift = json.loads(running("plan", file, "--json").out)
    assert sorted(step["id"] for step in drift["steps"]) == sorted(
        (
            f"n1.green/emerald/forward/{mac}",
            "n1.green/emerald/neighbour/10.2.0.3",
            "n2.red/crimson/vxlan",
            "n3.green/emerald/vxlan",
        )
    )
    running("up", file)
    running("plan", file, "--exit-code")
    file = running.write(LAB.replace("ttl 7", "ttl 8").replace("learning off", "learning on"))
    indexes = [running.node("n1").links()[f"vxlan400{n}"]["ifindex"] for n in (1, 2)]
    running("up", file)
    links = running.node("n1").ip("link")
    found = {link["ifname"]: link for link in links}
    assert [found[f"vxlan400{n}"]["ifindex"] for n in (1, 2)] == indexes, "changed in place"
    assert found["vxlan4001"]["linkinfo"]["info_data"]["ttl"] == 8
    assert found["vxlan4002"]["linkinfo"]["info_slave_data"]["neigh_suppress"] is False
    assert running.node("n1").ip("neigh", "show", "dev", "green", "nud", "permanent") == []
    running.exec("n1.b", "ping", "-c1", "-W2", "10.2.0.3")
