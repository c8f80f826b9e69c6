"""`up` makes exactly what the file says or nothing, and touches only what has to change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import NETNS, Vtopo, World, eventually
from machine import look, settle

BASE = """\
bridge lan { subnet 10.0.0.0/24; ageing 300s }
host a { route 10.7.0.0/16 via 10.1.0.2 }
host b
link a -- lan
link b -- lan
link a:x 10.1.0.1/24 -- b:x 10.1.0.2/24
"""


@pytest.fixture
def running(vtopo: Vtopo) -> Vtopo:
    vtopo("up", vtopo.write(BASE))
    return vtopo


def shape(vtopo: Vtopo) -> dict[str, Any]:
    """What a lab is like, whichever pids and interface numbers it has."""
    return {
        name: (sorted(link[1:] for link in links), routes, len(processes))
        for name, (_, processes, links, routes) in vtopo.facts().items()
    }


# A step that fails


def test_what_the_kernel_refuses_is_undone_and_told_with_its_place(vtopo: Vtopo) -> None:
    before = look()
    lab = vtopo.write(
        "host a { route 10.0.0.0/24 via 10.0.0.2 }\nhost b\nlink a:x 10.0.0.1/24 -- b:x 10.0.0.2/24\n"
    )
    failed = vtopo("up", lab, status=1)
    assert "cannot create route a/route/10.0.0.0/24" in failed.err
    assert "File exists" in failed.err, "the kernel's own words"
    assert f"--> {lab}:2:10" in failed.err
    assert "2 | host a { route 10.0.0.0/24 via 10.0.0.2 }" in failed.err
    assert "undone: all is as it was before" in failed.err
    assert settle(before) == []
    assert vtopo("plan", "--json", lab).json["summary"]["create"] == 7, "nothing is recorded either"


def test_a_failing_edit_leaves_the_lab_as_it_was(vtopo: Vtopo) -> None:
    text = "host a { bridge x }\nhost b{}\nlink a:eth0 10.0.0.1/24 -- b:eth0 10.0.0.2/24\n"
    vtopo("up", vtopo.write(text))
    before = vtopo.facts()
    with vtopo.node("a").socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
        occupant.bind(("0.0.0.0", 4789))
        overlay = "overlay o { vni 5; vtep a:eth0 -- a.x; vtep b:eth0 -- b.x }\n"
        failed = vtopo("up", vtopo.write(text.replace("host b{}", "host b { bridge x }") + overlay), status=1)
        assert "cannot create vxlan a.x/o/vxlan" in failed.err
        assert "Address already in use" in failed.err
        assert vtopo.facts() == before
    vtopo("up", vtopo.folder / f"{vtopo.lab}.vlab")
    assert {"vxlan5", "x"} <= set(vtopo.node("b").links())


def test_what_someone_else_has_in_the_way_is_not_touched(world: World, inner: Vtopo) -> None:
    other = f"{NETNS}/vtopo.{inner.lab}.a"
    world.run("ip", "netns", "add", "theirs")
    world.run("mkdir", "-p", f"{other}/inside")
    before = world.run("find", str(NETNS), "-printf", "%p %i\n")
    failed = inner("up", inner.write("host a\nhost b\n"), status=1)
    assert "cannot create host a/host" in failed.err
    assert f"Is a directory ({other})" in failed.err
    assert world.run("find", str(NETNS), "-printf", "%p %i\n") == before
    world.run("rm", "-r", other)
    world.run("ip", "netns", "delete", "theirs")
    assert world.left() == ["netns"], "the folder was there before"


def test_what_someone_else_has_beside_it_stays_in_sight(world: World, inner: Vtopo) -> None:
    world.run("mkdir", str(NETNS))
    world.run("ln", "-s", "/proc/1/ns/net", f"{NETNS}/theirs")  # as people do for a Docker container
    inner("up", inner.write("host a\n"))
    assert world.run("ls", str(NETNS)).split() == ["theirs", inner.node("a").name]


def test_keep_failed_keeps_what_was_made_for_a_look(vtopo: Vtopo) -> None:
    before = look()
    text = "host a { route 10.0.0.0/24 via 10.0.0.2 }\nhost b\nlink a:x 10.0.0.1/24 -- b:x 10.0.0.2/24\n"
    vtopo("up", "--keep-failed", vtopo.write(text), status=1)
    assert vtopo.node("a").addresses("x") == {"10.0.0.1/24"}
    vtopo("down", vtopo.lab)
    assert settle(before) == []


# A second `up`


def test_up_again_does_nothing_and_says_so(running: Vtopo) -> None:
    before = running.facts()
    assert "nothing to do" in running("up", f"{running.lab}.vlab").out
    assert running("up", "--json", f"{running.lab}.vlab").events[-1]["changed"] is False
    assert running.facts() == before


def test_a_dry_run_and_a_plan_touch_nothing(vtopo: Vtopo) -> None:
    before = look()
    lab = vtopo.write(BASE)
    vtopo("plan", lab)
    vtopo("up", "--dry-run", lab)
    assert vtopo("plan", "--exit-code", lab, status=3).status == 3
    assert look().difference(before) == []
    vtopo("up", lab)
    vtopo("plan", "--exit-code", lab)


# `up` after an edit: what it does to the text, and which ends of links are new, in a or in b

EDITS: dict[str, tuple[Callable[[str], str], set[str]]] = {
    "a host more": (lambda t: t + "host c\nlink c -- lan\n", set()),
    "a host less": (
        lambda t: (
            t.replace("host b\n", "")
            .replace("link b -- lan\n", "")
            .replace("link a:x 10.1.0.1/24 -- b:x 10.1.0.2/24\n", "")
            .replace(" { route 10.7.0.0/16 via 10.1.0.2 }", "")
        ),
        set(),
    ),
    "a link more": (lambda t: t + "link a:y -- b:y { subnet 10.2.0.0/31 }\n", {"y"}),
    "another MTU": (lambda t: t.replace("b:x 10.1.0.2/24", "b:x 10.1.0.2/24 { mtu 9000 }"), set()),
    "another MAC": (
        lambda t: t.replace("b:x 10.1.0.2/24", "b:x 10.1.0.2/24 { mac 02:00:00:00:00:99 }"),
        set(),
    ),
    "another address": (lambda t: t.replace("10.1.0.1/24", "10.1.0.9/24"), set()),
    "another subnet": (lambda t: t.replace("10.0.0.0/24", "10.9.0.0/24"), set()),
    "another next hop": (
        lambda t: t.replace("10.7.0.0/16 via 10.1.0.2", "10.7.0.0/16 via 10.0.0.2"),
        set(),
    ),
    "a host that forwards": (lambda t: t.replace("host b\n", "host b { forward on }\n"), set()),
}


@pytest.mark.parametrize(
    "what",
    EDITS,
)
def test_an_edit_changes_just_what_it_says(running: Vtopo, what: str) -> None:
    edit, new = EDITS[what]
    pids = {n: running.node(n).pid for n in "ab"}
    numbers = {n: {k: link["ifindex"] for k, link in running.node(n).links().items()} for n in "ab"}
    lab = running.write(edit(BASE))
    assert lab.read_text() != f"lab {running.lab}\n{BASE}"
    assert running("up", "--json", lab).events[-1]["changed"]
    running("plan", "--exit-code", lab)
    edited = shape(running)
    for node in "ab":
        if what == "a host less" and node == "b":
            assert not (NETNS / running.node("b").name).exists()
            continue
        assert running.node(node).pid == pids[node], "the host went on"
        now = {k: link["ifindex"] for k, link in running.node(node).links().items()}
        kept = {k: i for k, i in numbers[node].items() if what != "a host less" or k != "x"}
        assert {k: i for k, i in now.items() if k not in new} == kept, "its interfaces are the same"
    if what == "a host that forwards":
        assert running.node("b").sysctl("net.ipv4.ip_forward") == "1"
    running("down", running.lab)
    running("up", lab)
    assert edited == shape(running), "as if it had been so from the start"


# What somebody did by hand


def _bind_away(vtopo: Vtopo) -> None:
    name = NETNS / vtopo.node("a").name
    subprocess.run(["umount", name], check=True)
    name.unlink()


def _kill(vtopo: Vtopo) -> None:
    pid = vtopo.node("a").pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}/exe").exists())


BY_HAND: dict[str, Callable[[Vtopo], None]] = {
    "a link deleted": lambda v: v.node("a").change("link", "delete", "x"),
    "a bridge deleted": lambda v: v.fabric.change("link", "delete", "lan"),
    "an address added": lambda v: v.node("a").change("address", "add", "10.77.0.1/24", "dev", "x"),
    "an address removed": lambda v: v.node("a").change("address", "delete", "10.1.0.1/24", "dev", "x"),
    "a route removed": lambda v: v.node("a").change("route", "delete", "10.7.0.0/16"),
    "an MTU changed": lambda v: v.node("a").change("link", "set", "x", "mtu", "1400"),
    "a port let go": lambda v: v.fabric.change("link", "set", "lan.eth0", "nomaster"),
    "a link set down": lambda v: v.node("a").change("link", "set", "x", "down"),
    "a host's init killed": _kill,
    "a name unmounted": _bind_away,
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_was_done_by_hand_shows_and_up_repairs_it(running: Vtopo, what: str) -> None:
    before, other = shape(running), running.node("b").pid
    kept = running.node("a").pid
    BY_HAND[what](running)
    drifted = running("status", "--exit-code", "--json", running.lab, status=3).json
    assert drifted["drift"] != []
    assert "10.0.0.2" not in str(drifted["drift"]) or "bridge" in what, "b's address has not drifted"
    running("up", f"{running.lab}.vlab")
    assert shape(running) == before
    assert running.node("b").pid == other
    if "init" not in what:
        assert running.node("a").pid == kept
    running("status", "--exit-code", running.lab)


def _plug(vtopo: Vtopo, master: str, *how: str) -> None:
    a = vtopo.node("a")
    a.change("link", "add", master, "type", *how)
    a.change("link", "set", "eth0", "down")
    a.change("link", "set", "eth0", "master", master)
    a.change("link", "set", "eth0", "up")


WITH_CABLES_ALONE: dict[str, Callable[[Vtopo], None]] = {
    "plugged into a bridge": lambda v: _plug(v, "br0", "bridge"),
    "set down": lambda v: v.node("a").change("link", "set", "eth0", "down"),
    "another MTU": lambda v: v.node("a").change("link", "set", "eth0", "mtu", "1400"),
    "another MAC": lambda v: v.node("a").change("link", "set", "eth0", "address", "02:00:00:00:00:77"),
    "deleted": lambda v: v.node("a").change("link", "delete", "eth0"),
    "another address": lambda v: v.node("a").change("address", "add", "10.77.0.1/24", "dev", "eth0"),
    "no address": lambda v: v.node("a").change("address", "delete", "10.0.0.1/24", "dev", "eth0"),
}


@pytest.mark.parametrize("what", WITH_CABLES_ALONE)
def test_it_shows_in_hosts_that_have_nothing_but_cables(vtopo: Vtopo, what: str) -> None:
    """Of these a look asks for less."""
    file = vtopo.write("host a\nhost b\nlink a 10.0.0.1/24 -- b 10.0.0.2/24\nlink a -- b")
    vtopo("up", file)
    a = vtopo.node("a")
    a.change("link", "add", "own", "type", "bridge")  # nothing of the lab's
    vtopo("status", "--exit-code", vtopo.lab)
    WITH_CABLES_ALONE[what](vtopo)
    assert vtopo("status", "--exit-code", "--json", vtopo.lab, status=3).json["drift"] != []
    assert "up in" in vtopo("up", file).out
    vtopo("status", "--exit-code", vtopo.lab)
    assert a.addresses("eth0") == {"10.0.0.1/24"}
    assert a.links()["eth0"].get("master") is None
    assert "own" in a.links()


def test_what_was_added_by_hand_where_the_lab_sets_nothing_is_left_alone(running: Vtopo) -> None:
    a = running.node("a")
    a.change("address", "add", "10.77.0.1/24", "dev", "lo")
    a.change("route", "add", "10.78.0.0/24", "via", "10.1.0.2")
    running("status", "--exit-code", running.lab)
    running("up", running.write(BASE.replace("10.0.0.0/24", "10.9.0.0/24")))
    assert "10.77.0.1/24" in a.addresses("lo")
    assert a.routes()["10.78.0.0/24"] == "10.1.0.2"


# State and names


def test_down_finds_everything_without_its_records(running: Vtopo) -> None:
    shutil.rmtree(running.state)
    listed = {lab["lab"]: lab["state"] for lab in running("ls", "--json").json["labs"]}
    assert listed[running.lab] == "orphan"
    running("down", running.lab)
    assert running.names() == []
    assert [p for p in look().processes if running.lab in p] == []


def test_down_twice_says_that_nothing_runs(world: World, inner: Vtopo) -> None:
    inner("up", inner.write(BASE))
    assert "down" in inner("down").out
    assert world.left() == []
    assert "nothing to do" in inner("down").out
    assert "nothing to do" in inner("down", "nonesuch").out


def test_down_knows_which_lab_is_meant(world: World, inner: Vtopo) -> None:
    one, two = inner.write("host a\n"), inner.write("host a\n", f"{inner.lab}b")
    inner("up", one)
    inner("up", two)
    away = inner.folder / "elsewhere"
    away.mkdir()
    several = inner("down", cwd=away, status=2)
    assert inner.lab in several.err
    assert f"{inner.lab}b" in several.err
    assert "did you mean" in inner("down", f"{inner.lab}c", status=1).err
    inner("down", two)
    assert world.run("ls", str(NETNS)).split() == [inner.node("a").name]
    inner("down", cwd=away)
    assert world.left() == []


def test_orphans_are_what_no_record_claims(world: World, inner: Vtopo) -> None:
    inner("up", inner.write("host a\n"))
    shutil.rmtree(inner.state)
    inner("up", inner.write("host a\n", f"{inner.lab}b"))
    assert inner("down", "--orphans", "--json").json == {"down": [inner.lab]}
    assert world.run("ls", str(NETNS)).split() == [f"vtopo.{inner.lab}b.a"]
    assert "no orphans" in inner("down", "--orphans").out


def test_all_is_all(world: World, inner: Vtopo) -> None:
    for name in (inner.lab, f"{inner.lab}b", f"{inner.lab}c"):
        inner("up", inner.write("host a\nhost b\nlink a -- b\n", name))
    shutil.rmtree(inner.state / "labs" / inner.lab)
    gone = inner("down", "--all", "--json").json["down"]
    assert sorted(gone) == [inner.lab, f"{inner.lab}b", f"{inner.lab}c"]
    assert world.left() == []


def test_labs_with_the_same_nodes_do_not_meet(vtopo: Vtopo) -> None:
    other = Vtopo(vtopo.folder, f"{vtopo.lab}b")
    vtopo("up", vtopo.write(BASE))
    vtopo("up", vtopo.write(BASE.replace("10.1.0.2", "10.1.0.5"), other.lab))
    assert vtopo.node("a").inode != other.node("a").inode
    assert (vtopo.node("b").addresses("x"), other.node("b").addresses("x")) == (
        {"10.1.0.2/24"},
        {"10.1.0.5/24"},
    )
    ambiguous = vtopo("exec", "a", "true", status=1)
    assert "--lab" in ambiguous.err
    before = vtopo.facts()
    vtopo("down", other.lab)
    assert (vtopo.facts(), other.names()) == (before, [])


def test_a_lab_from_standard_input(vtopo: Vtopo) -> None:
    vtopo("up", "-", stdin=f"lab {vtopo.lab}\nhost a\n")
    assert vtopo.node("a").pid
    assert "nothing to do" in vtopo("up", "-", stdin=f"lab {vtopo.lab}\nhost a\n").out


def test_up_without_the_records_of_a_running_lab_refuses_to_make_it_twice(running: Vtopo) -> None:
    pids = {n: running.node(n).pid for n in "ab"}
    shutil.rmtree(running.state)
    assert f"`vtopo down {running.lab}`" in running("up", f"{running.lab}.vlab", status=1).err
    assert {n: running.node(n).pid for n in "ab"} == pids
    running("down", running.lab)


# Saved plans and what can be seen of a run


def test_a_saved_plan_is_carried_out_once_and_then_stale(vtopo: Vtopo) -> None:
    lab, plan = vtopo.write(BASE), vtopo.write("").with_name("plan.json")
    lab.write_text(f"lab {vtopo.lab}\n{BASE}")
    vtopo("plan", "-q", lab, "--out", plan)
    wanted = [s["id"] for s in json.loads(plan.read_text())["steps"]]
    *events, summary = vtopo("up", "--json", plan).events
    assert sorted(e["id"] for e in events if e["event"] == "done") == sorted(wanted)
    assert summary["ok"]
    before = vtopo.facts()
    assert "another command has changed lab" in vtopo("up", plan, status=1).err
    vtopo("plan", "-q", lab, "--out", plan)
    vtopo.node("a").change("link", "set", "eth0", "mtu", "1300")
    refused = vtopo("up", plan, status=1).err
    assert "now veth a:eth0--lan:eth0/veth would be updated (drifted: left.mtu 1300 → 1500)" in refused
    vtopo("up", "-q", lab)
    assert vtopo.facts() == before


def test_verbose_shows_what_the_kernel_was_asked_and_a_trace_when(running: Vtopo) -> None:
    lab = running.write(BASE.replace("a:x 10.1.0.1/24", "a:x 10.1.0.9/24"))
    trace = lab.with_name("trace.json")
    said = running("up", "-v", "--trace", trace, lab).out
    assert "create address a:x/address/10.1.0.9/24\n    RTM_NEWADDR 10.1.0.9/24 dev x in a\n" in said
    assert "    RTM_DELADDR 10.1.0.1/24 dev x in a\n" in said
    names = {e["name"] for e in json.loads(trace.read_text())["traceEvents"]}
    assert {"read", "check", "compile", "observe", "plan", "record", "create address"} <= names
    trace.unlink()
    trace.symlink_to(lab)
    assert "symbolic link" in running("down", "--trace", trace, running.lab, status=2).err
    assert running.names(), "nothing was done without the trace"
