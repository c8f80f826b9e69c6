"""Faults on purpose, as the kernel sees them: links down and up, other impairments, partitions, and what heals them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import Vtopo

LAB = """\
host a { route 10.9.0.0/24 via 10.1.0.2 }
host b; host c; host d
bridge lan { subnet 10.0.0.0/24 }
link a -- lan; link b -- lan; link c -- lan; link d -- lan
link a:p 10.1.0.1/24 2001:db8::1/64 -- b:p 10.1.0.2/24 2001:db8::2/64
"""


@pytest.fixture
def lab(vtopo: Vtopo) -> Path:
    path = vtopo.write(LAB)
    vtopo("up", path)
    return path


def reaches(vtopo: Vtopo, node: str, address: str) -> bool:
    argv = ["ip", "netns", "exec", vtopo.node(node).name, "ping", "-c1", "-W1", address]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def drift(vtopo: Vtopo) -> dict[str, str]:
    return {d["id"]: d["action"] for d in vtopo("status", vtopo.lab, "--json").json["drift"]}


def root_qdisc(vtopo: Vtopo, node: str) -> str:
    argv = ["tc", "-n", vtopo.node(node).name, "-j", "qdisc", "show", "dev", "eth0"]
    kind: str = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)[0]["kind"]
    return kind


def test_a_link_goes_down_and_comes_back_whole(vtopo: Vtopo, lab: Path) -> None:
    before = [vtopo.node(n).facts() for n in "ab"]
    vtopo("link", "a", "b", "down")
    assert not reaches(vtopo, "a", "10.1.0.2")
    assert reaches(vtopo, "a", "10.0.0.2")
    assert vtopo.node("a").routes() == {}
    assert drift(vtopo)["a:p--b:p/veth"] == "update"
    vtopo("link", "b:p", "a", "up")
    assert [vtopo.node(n).facts() for n in "ab"] == before
    assert reaches(vtopo, "a", "10.1.0.2")
    assert reaches(vtopo, "a", "2001:db8::2")
    assert drift(vtopo) == {}


def test_a_fault_waits_for_no_import_that_it_does_not_need(vtopo: Vtopo, lab: Path) -> None:
    """It is to take effect within 0.3 s of the command, most of which is Python's start and imports."""
    script = (
        "import sys; from vtopo.cli.entry import at_once; status = at_once(sys.argv[1:]); "
        "print(*sys.modules); sys.exit(status)"
    )
    argv = [sys.executable, "-c", script, "link", "a", "b", "down"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=vtopo.environment())
    assert drift(vtopo)["a:p--b:p/veth"] == "update"
    needless = {"lark", "networkx", "pyroute2", "jinja2", "rich", "docker", "click", "hashlib"}
    needless |= {
        "vtopo.model.lab",
        "vtopo.lang.parser",
        "vtopo.lang.ast",
        "vtopo.run.executor",
        "vtopo.plan.diff",
        "vtopo.compile.resources.containers",
    }
    assert needless.isdisjoint(done.stdout.split())


def test_at_a_bridge_its_port_goes_down_and_the_node_loses_its_carrier(vtopo: Vtopo, lab: Path) -> None:
    vtopo("link", "c", "lan", "down")
    assert not reaches(vtopo, "a", "10.0.0.3")
    there = vtopo.node("c").links()["eth0"]
    assert "NO-CARRIER" in there["flags"]
    assert "UP" in there["flags"]
    assert vtopo.node("c").addresses("eth0") == {"10.0.0.3/24"}
    assert drift(vtopo) == {"c:eth0--lan:eth2/veth": "update"}


def test_up_restores_all_faults(vtopo: Vtopo, lab: Path) -> None:
    vtopo("link", "a", "b", "down")
    vtopo("link", "c", "lan", "down")
    vtopo("link", "d", "lan", "set", "rate=2Mbit")
    vtopo("up", lab)
    assert drift(vtopo) == {}
    assert reaches(vtopo, "a", "10.1.0.2")
    assert reaches(vtopo, "a", "10.0.0.3")
    assert root_qdisc(vtopo, "d") == "noqueue"


def test_heal_restores_what_was_made_whatever_the_file_says_now(vtopo: Vtopo, lab: Path) -> None:
    lab.write_text("this is no lab")
    vtopo("link", "a", "b", "down")
    vtopo("heal", vtopo.lab)
    assert drift(vtopo) == {}
    assert reaches(vtopo, "a", "10.1.0.2")
    assert "nothing had drifted" in vtopo("heal", vtopo.lab).out


def test_set_changes_what_is_named_one_way_or_both(vtopo: Vtopo, lab: Path) -> None:
    vtopo("link", "d", "lan", "set", "rate=2Mbit", "burst=10kB", "--from", "d")
    status = vtopo("status", vtopo.lab).out
    assert "left.impairment rate 2Mbit burst 10000B → none" in status
    assert "right.impairment" not in status
    vtopo("link", "lan", "d", "set", "rate=3Mbit")
    status = vtopo("status", vtopo.lab).out
    assert "left.impairment rate 3Mbit" in status
    assert "right.impairment rate 3Mbit" in status
    vtopo("link", "lan", "d", "clear")
    assert drift(vtopo) == {}


def test_a_flapping_link_is_up_at_the_end(vtopo: Vtopo, lab: Path) -> None:
    said = vtopo("link", "c", "lan", "flap", "--every", "300ms", "--times", "2").out
    assert said.split("\n")[:4] == ["down (1 of 2)", "up", "down (2 of 2)", "up"]
    assert drift(vtopo) == {}


def test_an_interrupted_flap_is_up_at_the_end(vtopo: Vtopo, lab: Path) -> None:
    with vtopo.start("link", "a", "b", "flap", "--every", "100s") as process:
        end = time.monotonic() + 20
        while reaches(vtopo, "a", "10.1.0.2") and time.monotonic() < end:
            time.sleep(0.05)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert drift(vtopo) == {}


def test_a_partition_takes_the_fewest_links_down(vtopo: Vtopo, lab: Path) -> None:
    vtopo("partition", "a,b", "c,d")
    for one, address in (("a", "10.0.0.3"), ("b", "10.0.0.4"), ("c", "10.0.0.1")):
        assert not reaches(vtopo, one, address)
    assert reaches(vtopo, "a", "10.0.0.2")
    assert drift(vtopo) == {"c:eth0--lan:eth2/veth": "update", "d:eth0--lan:eth3/veth": "update"}
    assert "no path leads there" in vtopo("partition", "a", "c").out
    vtopo("heal")
    assert reaches(vtopo, "a", "10.0.0.3")


def test_a_tunnel_is_parted_in_its_underlay(vtopo: Vtopo) -> None:
    vtopo(
        "up",
        vtopo.write("""\
host a { bridge br; host x; link x 10.0.0.1/24 -- br }
host b { bridge br; host x; link x 10.0.0.2/24 -- br }
link a:p 10.1.0.1/24 -- b:p 10.1.0.2/24
overlay o { vni 7; vtep a:p -- a.br; vtep b:p -- b.br }
"""),
    )
    assert reaches(vtopo, "a.x", "10.0.0.2")
    vtopo("partition", "a.x,a.br", "b.x,b.br")
    assert not reaches(vtopo, "a.x", "10.0.0.2")
    assert "a:p--b:p/veth" in drift(vtopo)


def test_a_paused_host_holds_all_that_runs_in_it_until_it_goes_on(vtopo: Vtopo, lab: Path) -> None:
    inode = vtopo.node("a").inode
    count = Path(
        f"/proc/{vtopo.node('a').pid}/root/tmp/count"
    )  # read from outside: nothing runs in `a` for it
    counts = "i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; sleep 0.02; done"
    argv = vtopo.argv("exec", "--lab", vtopo.lab, "a", "--", "sh", "-c", counts)
    with subprocess.Popen(argv, env=vtopo.environment()) as process:
        try:
            end = time.monotonic() + 20
            while not count.exists() and time.monotonic() < end:
                time.sleep(0.05)
            vtopo("node", "a", "pause")
            held = count.read_text()
            time.sleep(0.3)
            assert count.read_text() == held
            assert drift(vtopo) == {"a/host": "update"}
            vtopo("up", lab)
            time.sleep(0.3)
            assert count.read_text() != held
            vtopo("node", "a", "pause")
            vtopo("node", "a", "resume")
            assert drift(vtopo) == {}
            assert vtopo.node("a").inode == inode
        finally:
            process.kill()


def test_a_killed_host_is_gone_with_its_links_until_up(vtopo: Vtopo, lab: Path) -> None:
    before = vtopo.node("b").pid  # an inode is soon used again
    vtopo("node", "b", "kill")
    end = time.monotonic() + 5
    while "p" in vtopo.node("a").links() and time.monotonic() < end:  # the kernel ends a namespace by and by
        time.sleep(0.02)
    assert "p" not in vtopo.node("a").links()
    assert not reaches(vtopo, "a", "10.0.0.2")
    assert drift(vtopo)["b/host"] == "create"
    assert "does not run" in vtopo("node", "b", "pause", status=1).err
    vtopo("up", lab)
    assert vtopo.node("b").pid != before
    assert reaches(vtopo, "a", "10.1.0.2")
    assert drift(vtopo) == {}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["link", "a", "nobody", "down"], 1, "`a` has links to b, lan"),
        (["link", "a", "b", "set"], 2, "takes values, such as delay=20ms"),
        (["link", "a", "b", "down", "delay=1ms"], 2, "takes values, such as delay=20ms"),
        (["link", "a", "b", "set", "delay=20"], 2, "did you mean 20ms?"),
        (["link", "a", "b", "set", "loss=120%"], 2, "too large"),
        (["link", "a", "b", "set", "speed=1"], 2, "a link has rate, burst, delay"),
        (["link", "a", "b", "set", "rate=1Mbit }"], 2, "takes another type of value: a rate"),
        (["link", "a", "b", "set", "rate=1Mbit", "--from", "c"], 2, "it is one of a and b"),
        (["link", "a", "b", "down", "--from", "a"], 2, "--from goes with"),
        (["link", "a", "b", "flap", "--every", "soon"], 2, "--every soon"),
        (["partition", "a,b", "b"], 2, "`b` is in both groups"),
        (["partition", "a", "nobody"], 1, "no linked node `nobody`"),
        (["partition", ",", "a"], 2, "a group has a node at least"),
    ],
)  # fmt: skip
def test_bad_input_is_told(vtopo: Vtopo, lab: Path, arguments: list[str], status: int, said: str) -> None:
    assert said in vtopo(*arguments, status=status).err
    assert drift(vtopo) == {}
