"""A LAN with two ends and no option of a bridge is one veth pair in the kernel, and is spoken of as the text does."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Any

import pytest
from cli import Vtopo

LAB = """\
bridge lan { subnet 10.0.0.0/24 2001:db8::/64 }
bridge other { subnet 10.9.0.0/24 }
host a { route 10.8.0.0/16 via 10.0.0.2; sysctl "net.ipv4.conf.eth0.rp_filter" 2 }
host b
link a -- lan
link b -- lan
link a:x -- other
link b:x -- other
"""
THIRD = "host c\nlink c -- lan\n"


@pytest.fixture
def running(vtopo: Vtopo) -> Vtopo:
    vtopo("up", vtopo.write(LAB))
    return vtopo


def reaches(vtopo: Vtopo, node: str, address: str) -> bool:
    argv = ["ip", "netns", "exec", vtopo.node(node).name, "ping", "-c1", "-W1", address]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def is_one_pair(vtopo: Vtopo, one: str, other: str) -> bool:
    """Whether each eth0 is the other's peer (by index; each has the other's namespace as its link-netns)."""
    here, there = vtopo.node(one).links()["eth0"], vtopo.node(other).links()["eth0"]
    kinds = [link["linkinfo"]["info_kind"] for link in (here, there)]
    indexes = here["link_index"] == there["ifindex"] and there["link_index"] == here["ifindex"]
    return kinds == ["veth", "veth"] and indexes


def drift(vtopo: Vtopo) -> dict[str, str]:
    return {d["id"]: d["reason"] for d in vtopo("status", vtopo.lab, "--json").json["drift"]}


def like(vtopo: Vtopo) -> dict[str, Any]:
    """What each node has, whichever numbers its interfaces have."""
    nodes = {name.removeprefix(f"vtopo.{vtopo.lab}").removeprefix(".") for name in vtopo.names()}
    found = {}
    for node in sorted(nodes - {""}):
        _, processes, links, routes = vtopo.node(node).facts()
        found[node] = (processes, sorted(link[1:] for link in links), routes, vtopo.node(node).routes("-6"))
    return found


def test_the_kernel_has_no_bridge_and_one_pair(running: Vtopo) -> None:
    a, b = running.node("a"), running.node("b")
    assert running.names() == sorted([a.name, b.name]), "nor a namespace for bridges"
    assert is_one_pair(running, "a", "b")
    for node in (a, b):
        kinds = [link.get("linkinfo", {}).get("info_kind") for link in node.links().values()]
        assert kinds == [None, "veth", "veth"]
    assert a.addresses("eth0") == {"10.0.0.1/24", "2001:db8::1/64"}
    assert reaches(running, "a", "10.0.0.2")
    assert reaches(running, "b", "2001:db8::1")
    status = running("status", running.lab).out
    assert "lan    bridge  up    the cable a:eth0 -- b:eth0" in status
    assert {n["node"]: n["kind"] for n in running("status", running.lab, "--json").json["nodes"]} == {
        "a": "host",
        "b": "host",
        "lan": "bridge",
        "other": "bridge",
    }
    assert "`lan` is a bridge" in running.exec("lan", "true", status=1).err


def test_its_links_go_down_and_come_back_whole(running: Vtopo) -> None:
    before = like(running)
    assert "a -- lan (the cable a:eth0 -- b:eth0): down" in running("link", "a", "lan", "down").out
    assert not reaches(running, "a", "10.0.0.2")
    assert reaches(running, "a", "10.9.0.2"), "the other LAN is not disturbed"
    assert drift(running)["a:eth0--b:eth0/veth"] == ("drifted: left.state down → up, right.state down → up")
    running("link", "lan:eth1", "b", "up")
    assert like(running) == before
    assert drift(running) == {}
    said = running("link", "b:eth0", "lan", "flap", "--every", "200ms", "--times", "2").out
    assert said.split("\n")[:4] == ["down (1 of 2)", "up", "down (2 of 2)", "up"]
    assert like(running) == before
    assert "there is no link between `a` and `b:eth0`" in running("link", "a", "b:eth0", "down", status=1).err


def test_a_rate_is_of_who_sends(running: Vtopo) -> None:
    running("link", "lan", "b", "set", "rate=2Mbit", "--from", "lan")
    assert "left.impairment" in drift(running)["a:eth0--b:eth0/veth"], "what comes to b is sent by a"
    assert "right.impairment" not in drift(running)["a:eth0--b:eth0/veth"]
    running("link", "b", "lan", "set", "rate=3Mbit", "--from", "b")
    assert "right.impairment rate 3Mbit" in drift(running)["a:eth0--b:eth0/veth"]
    running("link", "a", "lan", "clear")
    assert drift(running) == {}


def test_a_partition_takes_it_down_and_heal_brings_it_back(running: Vtopo) -> None:
    said = running("partition", "a", "b").out
    assert sorted(said.removeprefix("down: ").strip().split(", ")) == ["a:eth0--b:eth0", "a:x--b:x"]
    assert not reaches(running, "a", "10.0.0.2")
    running("heal", running.lab)
    assert reaches(running, "a", "10.0.0.2")
    assert running("partition", "a", "lan").out.startswith("down: a:eth0--b:eth0")
    running("up", f"{running.lab}.vlab")
    assert drift(running) == {}


def test_what_passes_a_port_is_captured_at_the_other_end(running: Vtopo) -> None:
    argv = running.argv("capture", "--lab", running.lab, "lan:eth0", "lan:eth1", "--for", "5s", "--json")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=running.environment()) as process:
        waiting = threading.Event()
        while not waiting.wait(0.3) and process.poll() is None:
            reaches(running, "a", "10.0.0.2")
        out, _ = process.communicate()
    seen = [line for line in out.splitlines() if "echo request" in line]
    ways = {(where, way) for where in ("lan:eth0", "lan:eth1") for way in ("In", "Out")}
    found = {
        (where, way)
        for where, way in ways
        for line in seen
        if f'"{where}"' in line and f'"{way.lower()}"' in line.lower()
    }
    assert found == {("lan:eth0", "In"), ("lan:eth1", "Out")}


def test_its_ports_are_counted(running: Vtopo) -> None:
    assert reaches(running, "a", "10.0.0.2")
    found = {i["interface"]: i for i in running("stats", running.lab, "--json").json["interfaces"]}
    assert {"a:eth0", "lan:eth0", "lan:eth1", "b:eth0"} <= found.keys()
    assert found["lan:eth0"]["rx_packets"] == found["b:eth0"]["rx_packets"] > 0


def test_a_scenario_cuts_it(vtopo: Vtopo) -> None:
    lab = vtopo.write(
        LAB + 'scenario "cut" { expect a reaches b; do link a lan down; expect not a reaches 10.0.0.2; '
        "do link b lan up; expect a reaches 10.0.0.2 within 10s }\n"
    )
    vtopo("up", lab)
    assert "3 expectations: 3 passed" in vtopo("test", lab).out
    assert drift(vtopo) == {}


def test_a_third_end_makes_it_a_bridge_and_without_it_is_a_cable_again(running: Vtopo) -> None:
    before = like(running)
    a, b = running.node("a"), running.node("b")
    kept = [(node.pid, node.links()["x"]["ifindex"]) for node in (a, b)]
    lab = running.write(LAB + THIRD)
    assert "lan is a bridge now: it has three ends" in running("plan", lab).out
    running("up", lab)
    assert running.fabric.links()["lan"]["linkinfo"]["info_kind"] == "bridge"
    assert "other" not in running.fabric.links()
    for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
        assert reaches(running, "c", address)
    assert drift(running) == {}
    assert running.node("a").sysctl("net.ipv4.conf.eth0.rp_filter") == "2"
    assert [(node.pid, node.links()["x"]["ifindex"]) for node in (a, b)] == kept
    now = like(running)
    assert {node: now[node] for node in "ab"} == before, "MACs, MTUs, addresses and routes are the same"
    lab = running.write(LAB)
    assert "lan is a cable now" in running("plan", lab).out
    running("up", lab)
    assert like(running) == before
    assert is_one_pair(running, "a", "b")
    assert running.fabric.name not in running.names()
    assert drift(running) == {}
    assert [(node.pid, node.links()["x"]["ifindex"]) for node in (a, b)] == kept


def test_an_edit_that_fails_leaves_the_cable(running: Vtopo) -> None:
    before = like(running)
    # The kernel has that route already, by the interface's own address.
    lab = running.write(LAB + THIRD.replace("host c", "host c { route 10.0.0.0/24 via 10.0.0.1 }"))
    failed = running("up", lab, status=1)
    assert "cannot create route c/route/10.0.0.0/24" in failed.err
    assert "undone: all is as it was before" in failed.err
    assert like(running) == before
    assert is_one_pair(running, "a", "b")
    assert drift(running) == {}
    assert reaches(running, "a", "10.0.0.2")


def test_a_host_that_dies_takes_it_along_until_up(running: Vtopo) -> None:
    running("node", "a", "kill")
    assert "eth0" not in running.node("b").links(), "as with a link from host to host"
    lan = next(n for n in running("status", running.lab, "--json").json["nodes"] if n["node"] == "lan")
    assert lan["state"] == "gone"
    time.sleep(0.1)
    running("up", f"{running.lab}.vlab")
    assert reaches(running, "b", "10.0.0.1")
    assert drift(running) == {}
