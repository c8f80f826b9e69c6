"""A lab that is up is looked at by digests of its namespaces; whatever anybody changes in one is seen all the same."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from cli import Node, Vtopo
from test_cgroups import wait_for

from vtopo.backends import dump, looks
from vtopo.backends import messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.looks import NO_LOOKS
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.cli.world import backends_of
from vtopo.installed import this_one
from vtopo.run import looking
from vtopo.state.folder import StateDir
from vtopo.state.store import Store

LAB = """\
host h[2..4] { sysctl "net.ipv4.conf.lo.arp_ignore" "1" }
host h1 { route 10.0.2.0/24 via 10.0.1.2 }
link h1 10.0.1.1/24 -- h2 10.0.1.2/24
link h2 10.0.2.1/24 -- h3 10.0.2.2/24
link h3 10.0.3.1/24 -- h4 10.0.3.2/24
"""
HOSTS = {f"h{number}/host" for number in range(1, 5)}


def kept(vtopo: Vtopo) -> set[str]:
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        text = store.looks(looking.key_of(store))
    return set(looks.from_text(text)) if text else set()


def look(vtopo: Vtopo) -> looking.Told:
    """What the early look's processes would tell, but for the first of them, which is this one."""
    there, here = os.pipe()
    try:
        return looking.look(StateDir(vtopo.state), vtopo.lab, lambda: backends_of(vtopo.lab), here)
    finally:
        os.close(there)
        os.close(here)


@pytest.fixture
def file(vtopo: Vtopo) -> Path:
    """A lab that is up, all of whose namespaces are known by their looks."""
    file = vtopo.write(LAB)
    vtopo("up", file)
    assert kept(vtopo) == set()
    settle(vtopo, "h1", "h2", "h3", "h4")
    vtopo("up", file)
    assert kept(vtopo) == HOSTS
    return file


def settle(vtopo: Vtopo, *nodes: str) -> None:
    """Wait until the kernel has come round to say that interfaces are up, and their addresses nobody else's."""
    wait_for(lambda: all(map(is_settled, map(vtopo.node, nodes))))


def is_settled(node: Node) -> bool:
    links = [link for link in node.ip("address") if link["ifname"] != "lo"]
    addresses = [address for link in links for address in link["addr_info"]]
    has_own = all(any(a["scope"] == "link" for a in link["addr_info"]) for link in links)
    is_up = all(link["operstate"] == "UP" for link in links)
    return has_own and is_up and not any(address.get("tentative") for address in addresses)


@pytest.fixture(params=["by one process", "by two"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by two":
        monkeypatch.setattr(looking, "_MANY", 1)


@pytest.mark.usefixtures("many")
def test_all_is_seen_whether_looks_are_known_or_not(vtopo: Vtopo, file: Path) -> None:
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        store.keep_looks("", NO_LOOKS)
    first = look(vtopo)
    assert looks.from_text(first.fresh).keys() == HOSTS
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        store.keep_looks(looking.key_of(store), first.fresh)
    again = look(vtopo)
    assert (again.missing, again.different, again.altered, again.fresh) == (set(), {}, set(), NO_LOOKS)
    for node in ("h1", "h2", "h3", "h4"):
        vtopo.node(node).change("link", "set", "eth0", "mtu", "1400")
    vtopo.node("h4").change("address", "delete", "10.0.3.2/24", "dev", "eth0")
    vtopo.node("h1").change("route", "delete", "10.0.2.0/24")
    by_looks = look(vtopo)
    assert by_looks.altered == HOSTS
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        store.keep_looks("", NO_LOOKS)
    without = look(vtopo)
    assert not without.gone_by
    assert len(without.missing) == 2
    assert len(without.different) == 3
    assert by_looks[:3] == without[:3]
    assert by_looks.fresh == without.fresh == NO_LOOKS


def test_what_is_as_it_was_is_not_taken_apart(
    vtopo: Vtopo, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_apart(*_: object, **__: object) -> dump.Contents:
        raise AssertionError("a namespace was taken apart")

    monkeypatch.setattr(dump, "read", taken_apart)
    told = look(vtopo)
    assert (told.missing, told.different, told.altered, told.fresh) == (set(), {}, set(), NO_LOOKS)
    vtopo.node("h4").change("address", "add", "192.0.2.1/24", "dev", "eth0")
    with pytest.raises(AssertionError, match="was taken apart"):
        look(vtopo)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("link set eth1 mtu 1400", "1 updated"),
        ("link set eth1 down", "1 updated"),
        ("link set eth1 address 02:00:00:00:00:09", "1 updated"),
        ("link set eth1 name wan", "1 replaced"),
        ("link delete eth1", "3 created"),
        ("address delete 10.0.2.1/24 dev eth1", "1 created"),
        ("address add 10.0.9.1/24 dev eth1", "nothing to do"),
        ("link add other type veth peer name another", "nothing to do"),
    ],
)
def test_a_hand_in_a_namespace_is_seen(vtopo: Vtopo, file: Path, words: str, said: str) -> None:
    vtopo.node("h2").change(*words.split())
    assert said in vtopo("up", file).out
    assert kept(vtopo) >= {"h4/host"}, "who has no part in it is still known"
    vtopo("up", file)
    assert kept(vtopo) == HOSTS
    assert "nothing to do" in vtopo("up", file).out


def test_a_host_that_is_gone_is_seen(vtopo: Vtopo, file: Path) -> None:
    os.kill(vtopo.node("h2").pid, signal.SIGKILL)
    assert "created" in vtopo("up", file).out
    vtopo("up", file)
    assert kept(vtopo) == HOSTS


def test_an_edit_leaves_the_looks_of_who_has_no_part_in_it(vtopo: Vtopo, file: Path) -> None:
    file.write_text(file.read_text().replace("h2 10.0.1.2/24", "h2 10.0.1.2/24 { mtu 1400 }"))
    assert "1 updated" in vtopo("up", file).out
    assert kept(vtopo) == {"h3/host", "h4/host"}
    assert "nothing to do" in vtopo("up", file).out
    assert kept(vtopo) == HOSTS
    vtopo.node("h1").change("link", "set", "eth0", "mtu", "1300")
    assert "1 updated" in vtopo("up", file).out


def test_a_host_more_is_looked_at_and_no_other(vtopo: Vtopo, file: Path) -> None:
    file.write_text(f"{file.read_text()}host extra\nlink extra 10.0.4.1/24 -- h4 10.0.4.2/24\n")
    assert "4 created" in vtopo("up", file).out
    assert kept(vtopo) == HOSTS - {"h4/host"}
    vtopo("up", file)
    assert kept(vtopo) == HOSTS | {"extra/host"}


def test_what_writes_records_without_looking_makes_all_looks_void(vtopo: Vtopo, file: Path) -> None:
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        store.begin(store.meta.source)
    assert kept(vtopo) == set()
    assert "nothing to do" in vtopo("up", file).out
    assert kept(vtopo) == HOSTS


def test_another_vtopo_goes_by_no_looks_of_this_one(vtopo: Vtopo, file: Path) -> None:
    with Store.open(StateDir(vtopo.state), vtopo.lab) as store:
        key = looking.key_of(store)
        assert this_one() in key
        assert store.looks(key)
        assert not store.looks(key.replace(this_one(), "0.0.9 1"))


def test_an_edit_that_is_undone_makes_all_looks_void(vtopo: Vtopo, file: Path) -> None:
    before = file.read_text()
    file.write_text(f'{before}host late {{ exec ["false"] }}\n')
    vtopo("up", file, status=1)
    assert kept(vtopo) == set()
    file.write_text(before)
    assert "nothing to do" in vtopo("up", file).out
    assert kept(vtopo) == HOSTS


def test_of_an_impairment_its_own_dump_is_asked(vtopo: Vtopo) -> None:
    file = vtopo.write("host a\nhost b\nhost c\nlink a -- b { rate 1Mbit }\nlink b -- c\n")
    vtopo("up", file)
    settle(vtopo, "a", "b", "c")
    vtopo("up", file)
    assert kept(vtopo) == set()
    words = ["root", "tbf", "rate", "2mbit", "burst", "2000", "limit", "20000"]
    subprocess.run(["tc", "-n", vtopo.node("a").name, "qdisc", "change", "dev", "eth0", *words], check=True)
    assert "1 updated" in vtopo("up", file).out


def test_an_impairment_by_hand_is_seen(vtopo: Vtopo, file: Path) -> None:
    words = ["root", "tbf", "rate", "2mbit", "burst", "2000", "limit", "20000"]
    subprocess.run(["tc", "-n", vtopo.node("h1").name, "qdisc", "add", "dev", "eth0", *words], check=True)
    assert "1 updated" in vtopo("up", file).out
    vtopo("up", file)
    assert kept(vtopo) == HOSTS


def test_who_is_linked_to_a_bridge_is_taken_apart(vtopo: Vtopo) -> None:
    file = vtopo.write(
        "host a\nhost b\nhost c\nbridge lan\nlink a -- lan\nlink b -- lan\nlink c -- lan\nlink a -- b\n"
    )
    vtopo("up", file)
    settle(vtopo, "a", "b", "c")
    vtopo("up", file)
    assert kept(vtopo) == set()
    vtopo.node("a").change("link", "set", "eth1", "mtu", "1400")
    assert "1 updated" in vtopo("up", file).out


def test_a_bridge_by_hand_is_seen(vtopo: Vtopo, file: Path) -> None:
    node = vtopo.node("h2")
    node.change("link", "add", "mine", "type", "bridge")
    assert "nothing to do" in vtopo("up", file).out
    assert kept(vtopo) == HOSTS - {"h2/host"}
    node.change("link", "set", "eth1", "master", "mine")
    assert "1 updated" in vtopo("up", file).out


def test_a_dump_is_recognised_by_all_but_what_changes_by_itself() -> None:
    with closing(NetlinkSocket()) as sock:
        parts = sock.dump(m.dump_request(m.RTM_GETLINK))
    clocks: list[list[int]] = [[] for _ in parts]
    for (data, start, end), places in zip(parts, clocks, strict=True):
        attributes(data, start + 16, end, frozenset(), looks.CLOCKS, places)
    was = looks.dumped(m.RTM_GETLINK, parts, clocks)
    assert looks.is_same(was, parts)
    data, start, end = parts[0]
    changing = {
        start + at
        for first, last in zip(was.cuts[0][::2], was.cuts[0][1::2], strict=True)
        for at in range(first, last)
    }
    assert 100 < len(changing) < end - start - 100
    for at in range(start - 16, end):
        other = bytearray(data)
        other[at] ^= 1
        is_number = start - 10 <= at < start  # flags, sequence number, port
        same = looks.is_same(was, [(bytes(other), start, end), *parts[1:]])
        assert same == (at in changing or is_number), at
    assert not looks.is_same(was, parts[1:])
    assert not looks.is_same(was, [*parts, parts[0]])
