"""Links and their settings, as `ip` and `bridge` see them in the lab's namespaces."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lab import FABRIC, Lab, address, end, ip, named, veth

from vtopo.backends.base import Done, Failed
from vtopo.backends.messages import GROUP, PROTOCOL
from vtopo.backends.netlink import NetlinkBackend
from vtopo.cli.world import backends_of
from vtopo.compile.resources import (
    KINDS,
    Bridge,
    Flood,
    Resource,
    Route,
    Sysctl,
    Unrealized,
    Vxlan,
)


def bridge(name: str = "lan", netns: str = FABRIC, mtu: int = 1500) -> Bridge:
    return Bridge(id=f"{netns}:{name}/bridge", netns=netns, name=name, mac="02:00:00:00:0b:01", mtu=mtu)


def pings(lab: Lab, node: str, target: str) -> bool:
    name = f"vtopo.{lab.name}.{node}"
    command = ["ip", "netns", "exec", name, "ping", "-c1", "-W2", "-i0.2", target]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def observed(lab: Lab, *recorded: Resource) -> dict[str, Resource]:
    return {i: p.found for i, p in NetlinkBackend(lab.name).observe(recorded, lab.handles).items()}


def test_a_veth_pair_has_what_was_asked_of_each_end(lab: Lab) -> None:
    lab.hosts("a", "b")
    pair = veth(end("a", "eth0", 1, mtu=1400), end("b", "uplink-to-a", 2, mtu=9000))
    lab.must(pair)
    left, right = named(lab.ip("a", "link"))["eth0"], named(lab.ip("b", "link"))["uplink-to-a"]
    assert (left["address"], left["mtu"], left["group"]) == ("02:00:00:00:00:01", 1400, str(GROUP))
    assert (right["address"], right["mtu"], right["group"]) == ("02:00:00:00:00:02", 9000, str(GROUP))
    assert {"UP", "LOWER_UP"} <= set(left["flags"]) & set(right["flags"])
    assert (left["link_index"], right["link_index"]) == (right["ifindex"], left["ifindex"])
    assert observed(lab, pair) == {pair.id: pair}


def test_both_ends_may_be_in_one_namespace(lab: Lab) -> None:
    lab.hosts("a")
    pair = veth(end("a", "eth0", 1), end("a", "eth1", 2))
    lab.must(pair)
    assert {"eth0", "eth1"} <= named(lab.ip("a", "link")).keys()
    assert observed(lab, pair) == {pair.id: pair}


def test_hosts_on_a_bridge_reach_each_other(lab: Lab) -> None:
    lab.hosts("a", "b")
    lan = bridge()
    pairs = [
        veth(end("a", "eth0", 1), end(FABRIC, "p1", 2, master="lan")),
        veth(end(FABRIC, "p2", 3, master="lan"), end("b", "eth0", 4)),
    ]
    addresses = [
        address("a", "eth0", "10.0.0.1/24"),
        address("b", "eth0", "10.0.0.2/24"),
        address("a", "eth0", "2001:DB8::1/64"),
        address("b", "eth0", "2001:db8::2/64"),
    ]
    lab.must(lan)
    lab.must(*pairs)
    lab.must(*addresses)
    ports = named(lab.ip("", "link"))
    assert (ports["p1"]["master"], ports["p2"]["master"]) == ("lan", "lan")
    assert ports["lan"]["linkinfo"]["info_data"]["stp_state"] == 0
    assert [
        i["family"] for link in lab.ip("", "address") if link["ifname"] != "lo" for i in link["addr_info"]
    ] == []
    assert pings(lab, "a", "10.0.0.2")
    assert pings(lab, "a", "2001:db8::2")
    recorded = [lan, *pairs, *addresses]
    assert observed(lab, *recorded) == {r.id: r for r in recorded}


def test_a_pair_may_join_two_bridges(lab: Lab) -> None:
    lab.hosts("a")
    lab.must(bridge("one"), bridge("two"))
    inner = bridge("br0", "a")
    lab.must(inner)
    pairs = [
        veth(end(FABRIC, "p1", 1, master="one"), end(FABRIC, "p2", 2, master="two")),
        veth(end(FABRIC, "p3", 3, master="one"), end("a", "p4", 4, master="br0")),
    ]
    lab.must(*pairs)
    ports = named(lab.ip("", "link"))
    assert [ports[p]["master"] for p in ("p1", "p2", "p3")] == ["one", "two", "one"]
    assert named(lab.ip("a", "link"))["p4"]["master"] == "br0"
    assert observed(lab, inner, *pairs) == {r.id: r for r in (inner, *pairs)}


def test_a_bridge_keeps_its_mtu_whatever_its_ports_have(lab: Lab) -> None:
    lab.hosts("a")
    for lan in (bridge("one", mtu=1500), bridge("two", mtu=9000)):
        lab.must(lan)
        port = end(FABRIC, f"p-{lan.name}", 2, mtu=1300, master=lan.name)
        lab.must(veth(end("a", f"to-{lan.name}", 1, mtu=1300), port))
        assert named(lab.ip("", "link"))[lan.name]["mtu"] == lan.mtu


@pytest.mark.parametrize("underlay", ["192.0.2", "2001:db8:1:"])
def test_vxlan_carries_frames_between_hosts(lab: Lab, underlay: str) -> None:
    lab.hosts("a", "b")
    prefix, dot = (64, ":") if ":" in underlay else (24, ".")
    ip_of = {n: f"{underlay}{dot}{i}" for i, n in enumerate("ab", 1)}
    lab.must(veth(end("a", "eth0", 1, mtu=1600), end("b", "eth0", 2, mtu=1600)))
    lab.must(*(address(n, "eth0", f"{ip_of[n]}/{prefix}") for n in "ab"))
    bridges = [bridge("br0", n) for n in "ab"]
    bridges = [replace(b, mac=f"02:00:00:00:0b:{i:02x}") for i, b in enumerate(bridges)]
    lab.must(*bridges)
    vteps = [
        Vxlan(id=f"{n}:vx/vxlan", netns=n, name="vx", mac=f"02:00:00:00:0c:0{i}", vni=100, port=4789, local=ip_of[n],
              device="eth0", mtu=1500, master="br0")
        for i, n in enumerate("ab")
    ]  # fmt: skip
    lab.must(*vteps)
    floods = [Flood(id=f"{n}:vx>{o}/flood", netns=n, device="vx", remote=ip_of[o]) for n, o in ("ab", "ba")]
    lab.must(*floods)
    lab.must(*floods)  # there once, however often it is asked for
    lab.must(address("a", "br0", "10.9.0.1/24"), address("b", "br0", "10.9.0.2/24"))
    assert pings(lab, "a", "10.9.0.2")
    data = named(lab.ip("a", "link"))["vx"]["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["learning"], data["link"]) == (100, 4789, True, "eth0")
    out = subprocess.run(
        ["bridge", "-j", "-n", f"vtopo.{lab.name}.a", "fdb", "show", "dev", "vx"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert [e["dst"] for e in json.loads(out) if e["mac"] == "00:00:00:00:00:00"] == [ip_of["b"]]
    recorded = [*bridges, *vteps, *floods]
    assert observed(lab, *recorded) == {r.id: r for r in recorded}
    assert list(lab.netlink.delete(floods, lab.handles)) == [Done(f.id) for f in floods]
    assert observed(lab, *floods) == {}


def test_addresses_and_routes_carry_the_mark(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.must(veth(end("a", "eth0", 1), end("b", "eth0", 2)))
    lab.must(address("a", "eth0", "10.0.0.1/24"), address("a", "eth0", "fd00::1/64"))
    routes = [
        Route(id="r4", netns="a", destination="0.0.0.0/0", via="10.0.0.2"),
        Route(id="r6", netns="a", destination="::/0", via="fd00::2"),
        Route(id="r", netns="a", destination="10.7.0.0/16", via="10.0.0.2"),
    ]
    lab.must(*routes)
    found = [r for f in ("-4", "-6") for r in lab.ip("a", f, "route") if r.get("protocol") == str(PROTOCOL)]
    assert sorted((r["dst"], r["gateway"]) for r in found) == [
        ("10.7.0.0/16", "10.0.0.2"), ("default", "10.0.0.2"), ("default", "fd00::2"),
    ]  # fmt: skip
    v6 = next(a for a in named(lab.ip("a", "address"))["eth0"]["addr_info"] if a["local"] == "fd00::1")
    assert "tentative" not in v6
    assert observed(lab, *routes) == {r.id: r for r in routes}
    assert {type(o) for o in lab.netlink.delete(routes, lab.handles)} == {Done}
    assert observed(lab, *routes) == {}
    assert {type(o) for o in lab.netlink.delete(routes, lab.handles)} == {Done}


def test_sysctls_are_the_namespaces_own(lab: Lab) -> None:
    lab.hosts("a", "b")
    forward = Sysctl(id="s", netns="a", key="net.ipv4.ip_forward", value="1")
    lab.must(forward)
    assert lab.run("a", "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert lab.run("b", "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    assert observed(lab, forward) == {"s": forward}
    off = replace(forward, value="0")
    assert observed(lab, off) == {"s": forward}
    assert list(lab.netlink.update([(forward, off)], lab.handles)) == [Done("s")]
    assert lab.run("a", "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    lab.must(forward)
    assert list(lab.netlink.delete([forward], lab.handles)) == [Done("s")]
    assert lab.run("a", "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_a_sysctl_that_does_not_exist_or_is_the_machines_fails(lab: Lab) -> None:
    lab.hosts("a")
    outcomes = lab.make(
        Sysctl(id="x", netns="a", key="net.ipv4.nonesuch", value="1"),
        Sysctl(id="y", netns="a", key="kernel.panic", value="1"),
    )
    absent, refused = (o.reason for o in outcomes if isinstance(o, Failed))
    assert absent == "No such file or directory (/proc/sys/net/ipv4/nonesuch)"
    assert "network sysctl" in refused


def test_drift_shows(lab: Lab) -> None:
    lab.hosts("a", "b")
    lan = bridge()
    lab.must(lan)
    pair = veth(end("a", "eth0", 1), end(FABRIC, "p1", 2, master="lan"))
    lab.must(pair)
    lab.ip("a", "link", "set", "eth0", "mtu", "1300")
    lab.ip("", "link", "set", "p1", "nomaster")
    lab.ip("", "link", "set", "lan", "mtu", "1200")
    seen = observed(lab, lan, pair)
    assert seen[lan.id] == replace(lan, mtu=1200)
    assert seen[pair.id] == replace(
        pair, left=replace(pair.left, mtu=1300), right=replace(pair.right, master=None)
    )
    lab.ip("a", "link", "set", "eth0", "down")
    assert observed(lab, pair)[pair.id] == replace(
        pair, left=replace(pair.left, mtu=1300, state="down"), right=replace(pair.right, master=None)
    )
    lab.must(pair)
    assert observed(lab, pair) == {pair.id: pair}


def updated(lab: Lab, old: Resource, new: Resource) -> None:
    """Change one in place; the kernel must then have what was asked."""
    assert list(lab.netlink.update([(old, new)], lab.handles)) == [Done(new.id)]
    assert observed(lab, old) == {new.id: new}


def test_a_mac_changes_in_place_and_the_neighbour_hears_of_it(lab: Lab) -> None:
    lab.hosts("a", "b")
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    lab.must(pair)
    lab.must(*(address(n, "eth0", a) for n, a in (("a", "10.0.0.1/24"), ("b", "10.0.0.2/24"))))
    lab.must(*(address(n, "eth0", a) for n, a in (("a", "fd00::1/64"), ("b", "fd00::2/64"))))
    assert pings(lab, "b", "10.0.0.1") and pings(lab, "b", "fd00::1"), "b knows a's MAC now"
    index = named(lab.ip("a", "link"))["eth0"]["ifindex"]
    new = replace(pair, left=replace(pair.left, mac="02:00:00:00:00:aa"))
    updated(lab, pair, new)
    assert named(lab.ip("a", "link"))["eth0"]["ifindex"] == index
    assert pings(lab, "b", "10.0.0.1") and pings(lab, "b", "fd00::1")
    for key in ("ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"):
        assert lab.run("a", "cat", f"/proc/sys/net/{key}") == "0\n", "as it was"


def test_a_port_moves_from_bridge_to_bridge_and_goes_down_and_up_in_place(lab: Lab) -> None:
    lab.hosts("a")
    lab.must(bridge("one"), replace(bridge("two"), mac="02:00:00:00:0b:02"))
    pair = veth(end("a", "eth0", 1), end(FABRIC, "p1", 2, master="one"))
    lab.must(pair)
    index = named(lab.ip("", "link"))["p1"]["ifindex"]
    for change in ({"master": "two"}, {"master": None}, {"master": "one", "state": "down"}, {"state": "up"}):
        new = replace(pair, right=replace(pair.right, **change))
        updated(lab, pair, new)
        pair = new
    assert named(lab.ip("", "link"))["p1"]["ifindex"] == index


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_end_can_be_born_down(lab: Lab, side: str) -> None:
    lab.hosts("a", "b")
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    pair = replace(pair, **{side: replace(getattr(pair, side), state="down")})
    lab.must(pair)
    flags = {n: "UP" in named(lab.ip(n, "link"))["eth0"]["flags"] for n in "ab"}
    assert flags == {"a": side != "left", "b": side != "right"}
    assert observed(lab, pair) == {pair.id: pair}


def test_a_bridges_mac_changes_in_place(lab: Lab) -> None:
    lab.hosts("a")
    lan = bridge("br0", "a")
    lab.must(lan)
    updated(lab, lan, replace(lan, mac="02:00:00:00:0b:77"))


def test_a_tunnel_moves_to_another_address_and_interface_in_place(lab: Lab) -> None:
    lab.hosts("a", "b")
    wires = [veth(end("a", f"eth{i}", 2 * i + 1), end("b", f"eth{i}", 2 * i + 2)) for i in range(2)]
    lab.must(*wires)
    lab.must(address("a", "eth0", "192.0.2.1/24"), address("a", "eth1", "198.51.100.1/24"))
    lab.must(bridge("br0", "a"), replace(bridge("br1", "a"), mac="02:00:00:00:0b:02"))
    vtep = Vxlan(id="a:vx/vxlan", netns="a", name="vx", mac="02:00:00:00:0c:01", vni=100, port=4789,
                 local="192.0.2.1", device="eth0", mtu=1400, master="br0")  # fmt: skip
    lab.must(vtep)
    flood = Flood(id="f", netns="a", device="vx", remote="192.0.2.9")
    lab.must(flood)
    new = replace(vtep, local="198.51.100.1", device="eth1", mac="02:00:00:00:0c:02", master="br1", mtu=1300)
    updated(lab, vtep, new)
    assert observed(lab, flood) == {"f": flood}, "its entries stay"
    assert not replace(vtep, local="fd00::1").changes_in_place("local", vtep), "but it keeps its family"


def test_mtus_change_in_place(lab: Lab) -> None:
    lab.hosts("a", "b")
    lan = bridge()
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    lab.must(lan)
    lab.must(pair)
    index = named(lab.ip("a", "link"))["eth0"]["ifindex"]
    jumbo = replace(pair, left=replace(pair.left, mtu=9000))
    changes: list[tuple[Resource, Resource]] = [(lan, replace(lan, mtu=9000)), (pair, jumbo)]
    assert {type(o) for o in lab.netlink.update(changes, lab.handles)} == {Done}
    link = named(lab.ip("a", "link"))["eth0"]
    assert (link["mtu"], link["ifindex"]) == (9000, index)
    assert named(lab.ip("b", "link"))["eth0"]["mtu"] == 1500
    assert named(lab.ip("", "link"))["lan"]["mtu"] == 9000


def test_what_is_not_ours_is_left_alone(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.ip("a", "link", "add", "eth0", "type", "bridge")
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    (outcome,) = lab.make(pair)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "File exists: a has an interface eth0 that is not vtopo's"
    assert named(lab.ip("a", "link"))["eth0"]["linkinfo"]["info_kind"] == "bridge"
    assert "eth0" not in named(lab.ip("b", "link"))
    assert list(lab.netlink.delete([bridge("eth0", "a")], lab.handles)) == [Done("a:eth0/bridge")]
    assert "eth0" in named(lab.ip("a", "link"))


def test_creating_twice_finishes_what_a_killed_run_began(lab: Lab) -> None:
    lab.hosts("a", "b")
    lan, pair = bridge(), veth(end("a", "eth0", 1), end("b", "eth0", 2))
    addresses = [address("a", "eth0", "10.0.0.1/24")]
    for _ in range(2):
        lab.must(lan)
        lab.must(pair)
        lab.must(*addresses)
    (outcome,) = lab.make(address("a", "eth0", "10.0.0.1/24"))
    assert isinstance(outcome, Done)


def test_remains_of_a_pair_are_replaced(lab: Lab) -> None:
    lab.hosts("a", "b", "c")
    lab.must(veth(end("a", "eth0", 1), end("c", "eth0", 3)))
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    lab.must(pair)
    assert observed(lab, pair) == {pair.id: pair}
    assert "eth0" not in named(lab.ip("c", "link"))


def test_a_host_made_again_gets_its_links_at_once(lab: Lab) -> None:
    hosts = lab.hosts("a", "b")
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    for _ in range(5):
        lab.must(pair)
        assert {type(o) for o in lab.namespaces.delete([hosts[1]], lab.handles)} == {Done}
        lab.must(hosts[1])


def test_interface_indexes_in_use_are_avoided(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.ip("a", "link", "add", "mine", "index", "2", "type", "bridge")
    pair = veth(end("a", "eth0", 1), end("b", "eth0", 2))
    lab.must(pair)
    assert named(lab.ip("a", "link"))["mine"]["ifindex"] == 2
    assert observed(lab, pair) == {pair.id: pair}


def test_a_bridge_leaves_the_interface_alone_whose_index_it_tried(lab: Lab) -> None:
    lab.hosts("a")
    lab.ip("a", "link", "add", "mine", "index", "2", "mtu", "1300", "type", "bridge")
    inner = bridge("lan", "a", mtu=9000)
    lab.must(inner)
    there = named(lab.ip("a", "link"))
    assert (there["mine"]["mtu"], there["lan"]["mtu"]) == (1300, 9000)


def test_deletion_takes_many_links_of_a_namespace_at_once(lab: Lab) -> None:
    nodes = [f"h{i}" for i in range(20)]
    lab.hosts(*nodes)
    lab.must(bridge())
    pairs = [
        veth(end(n, "eth0", i), end(FABRIC, f"p{i}", 100 + i, master="lan")) for i, n in enumerate(nodes)
    ]
    lab.must(*pairs)
    kept, gone = pairs[:2], pairs[2:]
    start = time.monotonic()
    assert set(lab.netlink.delete(gone, lab.handles)) == {Done(p.id) for p in gone}
    assert time.monotonic() - start < 5
    assert set(named(lab.ip("", "link"))) == {"lo", "lan", "p0", "p1"}
    assert observed(lab, *pairs) == {p.id: p for p in kept}
    assert set(lab.netlink.delete(gone, lab.handles)) == {Done(p.id) for p in gone}


def test_addresses_are_deleted_one_by_one(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.must(veth(end("a", "eth0", 1), end("b", "eth0", 2)))
    both = [address("a", "eth0", "10.0.0.1/24"), address("a", "eth0", "fd00::1/64")]
    lab.must(*both)
    for _ in range(2):
        assert list(lab.netlink.delete([both[0]], lab.handles)) == [Done(both[0].id)]
        assert observed(lab, *both) == {both[1].id: both[1]}


def test_what_needs_a_missing_thing_says_which(lab: Lab) -> None:
    lab.hosts("a", "b")
    reasons = [
        o.reason
        for r in (
            address("a", "eth9", "10.0.0.1/24"),
            veth(end("a", "eth0", 1), end("gone", "eth0", 2)),
            veth(end("a", "eth0", 1, master="br9"), end("b", "eth0", 2)),
            Route(id="r", netns="a", destination="0.0.0.0/0", via="10.0.0.2"),
        )
        for o in lab.make(r)
        if isinstance(o, Failed)
    ]
    assert reasons == [
        "there is no interface eth9 in a",
        "the network namespace gone does not exist",
        "there is no interface br9 in a",
        "Network is unreachable: Nexthop has invalid gateway",
    ]


def test_the_thread_that_asks_stays_in_its_namespace(lab: Lab) -> None:
    lab.hosts("a", "b")
    before = Path("/proc/thread-self/ns/net").readlink()
    lab.must(veth(end("a", "eth0", 1), end("b", "eth0", 2)))
    observed(lab, Sysctl(id="s", netns="a", key="net.ipv4.ip_forward", value="0"))
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_closed_namespaces_are_let_go(lab: Lab) -> None:
    hosts = lab.hosts("a", "b")
    lab.must(veth(end("a", "eth0", 1), end("b", "eth0", 2)))
    list(lab.namespaces.delete([hosts[1]], lab.handles))
    lab.netlink.close()
    deadline = time.monotonic() + 5
    while "eth0" in named(lab.ip("a", "link")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "eth0" not in named(lab.ip("a", "link"))


def test_more_namespaces_than_files(lab: Lab) -> None:
    nodes = [f"h{i}" for i in range(30)]
    lab.hosts(*nodes)
    lab.netlink._places._most = 8
    pairs = [
        veth(end(a, "eth0", 2 * i), end(b, "eth1", 2 * i + 1))
        for i, (a, b) in enumerate(itertools.pairwise(nodes))
    ]
    for pair in pairs:
        lab.must(pair)
    lab.must(*(address(n, "eth0", "10.0.0.1/24") for n in nodes[:-1]))
    assert len(lab.netlink.observe(pairs, lab.handles)) == len(pairs)
    assert sum(p.fd >= 0 for p in lab.netlink._places._open.values()) <= 8


def test_all_kinds_have_a_backend(lab: Lab) -> None:
    ours = [kind for backend in backends_of(lab.name) for kind in backend.kinds]
    assert sorted(ours) == sorted(KINDS.keys() - {Unrealized.kind})
    assert ip("link")  # and the machine's own namespace answers still
