"""An overlay between two machines' own interfaces: each has half of the lab, and its own network as it was."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cli import Vtopo, World
from machine import LAB_PREFIX
from test_overlay import ETH_P_ALL, captured, ethernet, ipv4
from test_overlays_in_full import inner, over_ipv6


class Half:
    """One of the machines, and the half of the lab that it runs."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.there = number, 3 - number
        self.world = World()
        self.vtopo = Vtopo(folder, f"{LAB_PREFIX}-half{number}", self.world.prefix)

    def text(self, interface: str = '"eth0"', vni: int = 100, more: str = "") -> str:
        n, there = self.number, self.there
        return (
            f"bridge lan\nhost a {{ bridge br; host b; link b:eth0 2001:db8:1::{n}/64 -- br }}\n"
            f"link a:eth0 10.0.0.{n}/24 -- lan\n"
            f"overlay red {{ vni {vni}; remote 192.0.2.{there}; vtep {interface} -- lan; {more} }}\n"
            f"overlay six {{ vni 101; remote 2001:db8::{there}; learning off; "
            f'vtep "eth0" 2001:db8::{n} -- a.br }}\n'
        )

    def ping(self, node: str, address: str) -> None:
        self.world.run("ip", "netns", "exec", f"vtopo.{self.vtopo.lab}.{node}", "ping", "-c1", "-W5", address)

    def state(self) -> set[str]:
        """What is the machine's own; with link-local addresses the kernel itself is busy."""
        links = "ip -o link | sed 's/NO-CARRIER,//; s/state [A-Z]*//'"
        told = f"{links}; ip -o addr; ip route show table all; ip -6 route show table all; ip rule; nft list ruleset"
        lines = self.world.run("sh", "-ec", told).splitlines()
        return {line for line in lines if "fe80:" not in line and "ff00:" not in line}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Half, Half]]:
    one, two = (Half(n, tmp_path_factory.mktemp(f"half{n}")) for n in (1, 2))
    try:
        for wire in ("eth0", "eth1"):
            pair = (wire, "type", "veth", "peer", "name", wire, "netns", str(two.world.first))
            enter = ("nsenter", "-t", str(one.world.first), "-n")
            subprocess.run([*enter, "ip", "link", "add", *pair], check=True)
        for half in (one, two):
            n = half.number
            half.world.run(
                *("sh", "-ec"),
                f"ip addr add 192.0.2.{n}/24 dev eth0; ip addr add 2001:db8::{n}/64 dev eth0 nodad\n"
                "ip link set eth0 up; ip link set eth1 up",
            )
        yield one, two
    finally:
        one.world.close()
        two.world.close()


def test_two_halves_join_up_and_no_machine_has_anything_new(halves: tuple[Half, Half]) -> None:
    before = [half.state() for half in halves]
    one, _ = halves
    for half in halves:
        half.vtopo("up", half.vtopo.write(half.text()))
    with closing(one.world.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))) as wire:
        wire.bind(("eth0", ETH_P_ALL))
        one.ping("a", "10.0.0.2")
        one.ping("a.b", "2001:db8:1::2")
        frames = [ethernet(frame) for frame in captured(wire, 0.3)]
    packets = [ipv4(frame.payload) for frame in frames if frame.type == 0x0800]
    carried = [(p.source, p.to, ipv4(e.payload)) for p in packets
               if (e := ethernet(inner(p.payload, 100))).type == 0x0800]  # fmt: skip
    echoes = [(source, to, p.source, p.to) for source, to, p in carried if p.protocol == socket.IPPROTO_ICMP]
    assert echoes == [
        ("192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.2"),
        ("192.0.2.2", "192.0.2.1", "10.0.0.2", "10.0.0.1"),
    ]
    sixes = [over_ipv6(frame) for frame in frames if frame.type == 0x86DD and frame.payload[6] == 17]
    inside = [(source, to, ethernet(inner(udp, 101))) for source, to, udp in sixes]
    answered = [
        (source, to) for source, to, e in inside if e.payload[6:7] == b":" and e.payload[40] >> 1 == 64
    ]
    assert answered == [("2001:db8::1", "2001:db8::2"), ("2001:db8::2", "2001:db8::1")]
    assert [half.state() ^ was for half, was in zip(halves, before, strict=True)] == [set(), set()]
    # What only the kernel knows of: a tunnel of another lab's, in its fabric.
    other = Vtopo(one.vtopo.folder / "other", f"{LAB_PREFIX}-other", one.world.prefix)
    other.folder.mkdir()
    told = other("up", other.write(one.text()), status=1).err
    assert "this machine has a tunnel of VNI 100 on UDP port 4789 already, in another lab" in told
    assert "all is as it was before" in told
    # What others do to it is mended, and what is edited changed.
    fabric = f"vtopo.{one.vtopo.lab}"
    one.world.run("ip", "-n", fabric, "link", "del", "vxlan100")
    one.vtopo("up", one.vtopo.write(one.text(more="ttl 9")))
    one.ping("a", "10.0.0.2")
    assert " ttl 9 " in one.world.run("ip", "-n", fabric, "-d", "link", "show", "vxlan100")
    # To leave by another interface it is made again, and what hangs on it too.
    one.world.run("ip", "addr", "add", "198.51.100.1/24", "dev", "eth1")
    moved = one.text('"eth1"').replace("192.0.2.2", "198.51.100.2")
    file = one.vtopo.write(moved)
    one.vtopo("up", file)
    assert "198.51.100.2" in one.world.run("bridge", "-n", fabric, "fdb", "show", "dev", "vxlan100")
    one.vtopo("plan", file, "--exit-code")
    one.world.run("ip", "addr", "del", "198.51.100.1/24", "dev", "eth1")
    for half in halves:
        half.vtopo("down", half.vtopo.lab)
    assert [half.state() ^ was for half, was in zip(halves, before, strict=True)] == [set(), set()]


def test_what_a_machine_lacks_for_it_is_said(halves: tuple[Half, Half]) -> None:
    one, _ = halves
    one.world.run("ip", "link", "add", "vx", "type", "vxlan", "id", "7", "dev", "eth0", "dstport", "4789")
    text = (
        "".join(f"bridge b{n}\n" for n in range(5))
        + """\
overlay a { vni 1; remote 192.0.2.2; vtep "enp9s0" -- b0 }
overlay b { vni 2; remote 192.0.2.2; vtep "eth1" -- b1 }
overlay c { vni 3; remote 192.0.2.2; vtep "eth0" 192.0.2.7 -- b2 }
overlay d { vni 4; remote 192.0.2.2; mtu 1500; vtep "eth0" -- b3 }
overlay e { vni 7; remote 192.0.2.2; vtep "eth0" -- b4 }
"""
    )
    told = one.vtopo("up", one.vtopo.write(text), status=1).err
    for words in (
        "this machine has no interface enp9s0; it has eth0, eth1, vx",
        "eth1 has no IPv4 address that a tunnel could send from",
        "eth0 has no address 192.0.2.7; it has 192.0.2.1",
        "eth0 has an MTU of 1500, which leaves 1450 in a tunnel, and the overlay's is 1500: write `mtu 1450`",
        "this machine has a tunnel of VNI 7 on UDP port 4789 already, vx: give the overlay another `vni`",
        "nothing was touched",
    ):
        assert words in told
    one.world.run("ip", "link", "del", "vx")
