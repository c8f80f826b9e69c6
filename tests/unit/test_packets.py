"""Frames in words, and capture files, from bytes that are written here."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pcapng_file import blocks, options

from vtopo.packets import pcapng
from vtopo.packets.frame import ETHERNET, RAW_IP, Frame, Tapped
from vtopo.packets.words import told

A, B = "020000000001", "020000000002"


def ether(kind: int, payload: bytes, tags: str = "") -> bytes:
    return bytes.fromhex(B + A + tags) + struct.pack("!H", kind) + payload


def ip(
    protocol: int, payload: bytes, source: str = "10.0.0.1", to: str = "10.0.0.2", offset: int = 0
) -> bytes:
    a, b = ip_address(source).packed, ip_address(to).packed
    if len(a) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + a + b + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, offset, 64, protocol, 0) + a + b + payload


def udp(to: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", 40000, to, 8 + len(payload), 0) + payload


ECHO = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + bytes(8)
PING = ether(0x0800, ip(1, ECHO))
ARP = bytes.fromhex("0001080006040001" + A + "0a000001" + "000000000000" + "0a000002")
TCP = struct.pack("!HHIIBBHHH", 40000, 80, 1, 2, 5 << 4, 0x12, 500, 0, 0) + b"abc"
VXLAN = bytes((8, 0, 0, 0, 0, 0, 100, 0))
SOLICITATION = bytes((135, 0, 0, 0, 0, 0, 0, 0)) + ip_address("2001:db8::2").packed
FRAGMENT = bytes((17, 0, 0, 1, 0, 0, 0, 9)) + udp(53, b"")


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (PING, "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 1, length 16"),
        (ether(0x0806, ARP), "ARP, Request who-has 10.0.0.2 tell 10.0.0.1"),
        (ether(0x0800, ip(6, TCP)), "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [S.], seq 1, ack 2, win 500, length 3"),
        (ether(0x0800, ip(17, udp(53, b"12"))), "IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 2"),
        (
            ether(0x0800, ip(17, udp(4789, VXLAN + PING))),
            "IP 10.0.0.1.40000 > 10.0.0.2.4789: VXLAN, vni 100: "
            "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 1, length 16",
        ),
        (ether(0x0800, ip(17, udp(8472, VXLAN + PING))), "…8472: VXLAN, vni 100: IP 10.0.0.1 > 10.0.0.2: ICMP echo …"),
        (
            ether(0x86DD, ip(58, SOLICITATION, "fe80::1", "ff02::1")),
            "IP6 fe80::1 > ff02::1: ICMP6, neighbor solicitation, who has 2001:db8::2, length 24",
        ),
        (
            ether(0x86DD, ip(44, FRAGMENT, "fe80::1", "fe80::2")),
            "IP6 fe80::1.40000 > fe80::2.53: UDP, length 0, first fragment",
        ),
        (ether(0x0800, ip(17, b"rest", offset=185)), "IP 10.0.0.1 > 10.0.0.2: fragment at 1480, length 4"),
        (ether(0x0800, PING[14:], "8100600a"), "vlan 10, p 3, IP 10.0.0.1 > 10.0.0.2: ICMP echo …"),
        (ether(0x88CC, b"\x02"), "02:00:00:00:00:01 > 02:00:00:00:00:02, LLDP, length 1"),
        (ether(38, bytes.fromhex("424203000000")+b"\0"), "…, STP, Config, length 38"),
        (ether(0x0800, ip(89, b"ab")), "IP 10.0.0.1 > 10.0.0.2: OSPF, length 2"),
        (PING[:20], "02:00:00:00:00:01 > 02:00:00:00:00:02, truncated, length 20"),
        (b"", "truncated, length 0"),
    ],
)  # fmt: skip
def test_a_frame_in_words(frame: bytes, text: str) -> None:
    seen = told(frame, ETHERNET)
    begins, ends = not text.startswith("…"), not text.endswith("…")
    assert text.strip("…") in seen
    assert not begins or seen.startswith(text.strip("…"))
    assert not ends or seen.endswith(text.strip("…"))


def test_an_interface_without_ethernet() -> None:
    assert told(ip(1, ECHO), RAW_IP).startswith("IP 10.0.0.1 > 10.0.0.2: ICMP echo request")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=120),
        st.builds(lambda b, n: PING[:n] + b, st.binary(max_size=80), st.integers(12, 42)),
    )
)
def test_no_frame_is_too_odd_to_be_told(frame: bytes) -> None:
    for link_type in (ETHERNET, RAW_IP):
        text = told(frame, link_type)
        assert text
        assert text.isprintable()


def test_a_capture_file_is_blocks_that_say_their_length_twice() -> None:
    taps = (Tapped("a:eth0", "eth0"), Tapped("lan:a", "lan.a-12ab"))
    data = pcapng.header(taps, "vtopo 1", "icmp")
    data += pcapng.packet(Frame(5_000_000_001, 1, True, PING + b"x")) + pcapng.statistics(1, 6, 10, 3)
    section, first, second, packet, statistics = blocks(data)
    assert section[:2] == (0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + section[1][16:])
    assert options(first[1][8:])[2] == b"a:eth0"
    assert options(second[1][8:]) == {2: b"lan:a", 3: b"lan.a-12ab in the kernel", 9: b"\x09", 11: b"\0icmp"}
    number, high, low, captured, length = struct.unpack_from("=5I", packet[1])
    assert (number, (high << 32) + low, captured, length) == (1, 5_000_000_001, 43 + 8, 43 + 8)
    assert packet[1][20 : 20 + captured] == PING + b"x"
    assert options(packet[1][20 + captured + 1 :]) == {2: struct.pack("=I", 2)}
    assert options(statistics[1][12:]) == {4: struct.pack("=Q", 10), 5: struct.pack("=Q", 3)}
