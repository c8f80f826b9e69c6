"""Addresses that somebody adds to an interface that the lab numbers: they show as drift, and `up` takes them away."""

from __future__ import annotations

import socket
import subprocess

import pytest
from cli import Node, Vtopo

from vtopo.backends import messages

LAB = """\
host a
host b { run "sleep 1000" }
host c { exec "ip address add 192.0.2.3/24 dev eth0" }
bridge lan { subnet 10.0.0.0/24 }
host d { bridge inner { address 10.9.0.1/24 } }
link a -- lan
link b -- lan
link c -- lan
host e { ready "true" within 10s }
link e -- lan
link a:free none -- d:free none
link a:six 2001:db8::1/64 -- d:six 2001:db8::2/64
"""


@pytest.fixture
def running(vtopo: Vtopo) -> Vtopo:
    vtopo("up", vtopo.write(LAB))
    vtopo("status", "--exit-code", vtopo.lab)
    return vtopo


def add(node: Node, *words: str) -> None:
    subprocess.run(["ip", "-n", node.name, "address", "add", *words], check=True)


def indexes(node: Node) -> dict[str, int]:
    return {name: link["ifindex"] for name, link in node.links().items()}


def file_of(vtopo: Vtopo) -> str:
    return str(vtopo.folder / f"{vtopo.lab}.vlab")


@pytest.mark.parametrize(
    ("node", "device", "given", "added"),
    [
        ("a", "eth0", {"10.0.0.1/24"}, ["192.0.2.1/24"]),
        ("a", "eth0", {"10.0.0.1/24"}, ["10.0.0.77/24", "192.0.2.1/24", "2001:db8:9::1/64"]),
        ("a", "six", {"2001:db8::1/64"}, ["2001:db8::77/64"]),
        ("d", "inner", {"10.9.0.1/24"}, ["10.9.0.2/32"]),
        ("a", "eth0", {"10.0.0.1/24"}, ["192.0.2.1 peer 192.0.2.2/32"]),
    ],
)
def test_it_shows_and_up_takes_just_that_away(
    running: Vtopo, node: str, device: str, given: set[str], added: list[str]
) -> None:
    there = running.node(node)
    before = indexes(there)
    for address in added:
        add(there, *address.split(), "dev", device)
    said = running("status", "--exit-code", running.lab, status=3).out
    assert "1 to update" in said or "~ update" in said
    assert f"others {', '.join(sorted(added))} → none" in " ".join(said.split())
    assert "drifted: others" in running("plan", "--exit-code", file_of(running), status=3).out
    assert "1 updated" in running("up", file_of(running)).out
    assert there.addresses(device) == given
    assert indexes(there) == before
    assert "nothing to do" in running("up", file_of(running)).out
    running("status", "--exit-code", running.lab)


def test_heal_takes_it_away_too(running: Vtopo) -> None:
    add(running.node("a"), "192.0.2.1/24", "dev", "eth0")
    running("heal", running.lab)
    assert running.node("a").addresses("eth0") == {"10.0.0.1/24"}


@pytest.mark.parametrize(
    ("node", "address", "device", "more"),
    [
        ("a", "192.0.2.1/24", "free", ()),  # the lab leaves it without a number
        ("a", "192.0.2.1/24", "lo", ()),
        ("a", "192.0.2.1/24", "eth0", ("valid_lft", "600", "preferred_lft", "600")),  # as from DHCP
        ("a", "169.254.7.1/16", "eth0", ("scope", "link")),
        ("b", "192.0.2.1/24", "eth0", ()),  # its daemon may have added it
        ("e", "192.0.2.1/24", "eth0", ()),  # so may what finds out whether it is ready
        ("c", "192.0.2.1/24", "eth0", ()),  # as its command has added another
    ],
)
def test_what_may_be_meant_so_is_left_alone(
    running: Vtopo, node: str, address: str, device: str, more: tuple[str, ...]
) -> None:
    there = running.node(node)
    add(there, address, "dev", device, *more)
    before = there.addresses(device)
    running("status", "--exit-code", running.lab)
    assert "nothing to do" in running("up", file_of(running)).out
    assert there.addresses(device) == before


def test_what_says_whose_it_is_is_left_alone(running: Vtopo) -> None:
    there = running.node("a")
    request = bytearray(messages.address(there.links()["eth0"]["ifindex"], "192.0.2.1/24"))
    assert request[-4] == messages.PROTOCOL
    request[-4] = 18  # RTPROT_KEEPALIVED
    with there.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(request)
        netlink.recv(1 << 16)
    assert there.addresses("eth0") == {"10.0.0.1/24", "192.0.2.1/24"}
    assert "nothing to do" in running("up", file_of(running)).out
    assert there.addresses("eth0") == {"10.0.0.1/24", "192.0.2.1/24"}


def test_what_took_the_place_of_the_lab_s_address_goes_in_one_run(running: Vtopo) -> None:
    there = running.node("a")
    for words in (["flush", "dev", "eth0"], ["add", "10.0.0.99/24", "dev", "eth0"]):
        subprocess.run(["ip", "-n", there.name, "address", *words], check=True)
    assert "state gone → set" in " ".join(running("plan", file_of(running)).out.split())
    assert "1 updated" in running("up", file_of(running)).out
    assert there.addresses("eth0") == {"10.0.0.1/24"}
    running("status", "--exit-code", running.lab)


def test_what_was_added_and_is_now_written_into_the_lab_becomes_the_lab_s(running: Vtopo) -> None:
    there = running.node("a")
    add(there, "2001:db8::77/64", "dev", "six")
    lab = LAB.replace("2001:db8::1/64", "2001:db8::1/64 2001:db8::77/64")
    said = running("up", running.write(lab)).out
    assert "1 created, 2 updated" in said, "the other is /etc/hosts"
    assert there.addresses("six") == {"2001:db8::1/64", "2001:db8::77/64"}
    running("status", "--exit-code", running.lab)


FAILS = LAB + 'host x { exec "false" }\nlink x -- lan\n'


@pytest.mark.parametrize("flushed", [False, True])
def test_a_run_that_fails_puts_it_back_and_it_still_shows(running: Vtopo, flushed: bool) -> None:
    there = running.node("a")
    if flushed:
        subprocess.run(["ip", "-n", there.name, "address", "flush", "dev", "eth0"], check=True)
    for address in ("10.0.0.77/24", "2001:db8:9::1/64", "192.0.2.1 peer 192.0.2.2/32"):
        add(there, *address.split(), "dev", "eth0")
    before = there.ip("address", "show", "dev", "eth0")[0]["addr_info"]
    failed = running("up", running.write(FAILS), status=1)
    assert "all is as it was before" in failed.err
    assert told(there.ip("address", "show", "dev", "eth0")[0]["addr_info"]) == told(before)
    running("status", "--exit-code", running.lab, status=3)
    running("up", running.write(LAB))
    assert there.addresses("eth0") == {"10.0.0.1/24"}


def test_where_the_link_was_made_anew_an_undo_adds_it_again(running: Vtopo) -> None:
    there = running.node("a")
    add(there, "2001:db8::77/64", "dev", "six")
    lab = FAILS.replace(
        "link a:six 2001:db8::1/64 -- d:six 2001:db8::2/64",
        "link a:six 2001:db8::1/64 -- d:other 2001:db8::2/64",
    )
    failed = running("up", running.write(lab), status=1)
    assert "all is as it was before" in failed.err
    assert there.addresses("six") == {"2001:db8::1/64", "2001:db8::77/64"}


def told(addresses: list[dict[str, object]]) -> list[tuple[object, ...]]:
    keys = ("family", "local", "address", "prefixlen", "scope")
    return sorted(tuple(str(each.get(key)) for key in keys) for each in addresses)
