"""Impairments of links: what tc(8) sees, what passes, and what a kernel without netem says."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from cli import Vtopo
from netem import has_netem, needs_netem

TWO = "host a; host b\nlink a 10.0.0.1/24 -- b 10.0.0.2/24 { @ }\n"


def qdiscs(vtopo: Vtopo, node: str) -> list[dict[str, Any]]:
    """What `tc qdisc` says of eth0."""
    argv = ["tc", "-n", vtopo.node(node).name, "-s", "-j", "qdisc", "show", "dev", "eth0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def up(vtopo: Vtopo, impaired: str) -> dict[str, int]:
    path = vtopo.write(TWO.replace("@", impaired))
    counts: dict[str, int] = vtopo("up", path, "--json").events[-1]["counts"]
    return {action: count for action, count in counts.items() if count and action != "no-op"}


def rate(vtopo: Vtopo, way: str, least: float, most: float) -> None:
    """`vtopo test` measures one TCP stream for a second."""
    path = vtopo.folder / f"{vtopo.lab}.vlab"
    text = path.read_text()
    path.write_text(f"{text}\nexpect rate {way} >= {least}Mbit within 10s\nexpect rate {way} <= {most}Mbit\n")
    try:
        vtopo("test", path)
    finally:
        path.write_text(text)


def test_a_rate_is_a_token_bucket_at_each_end(vtopo: Vtopo) -> None:
    up(vtopo, "rate 20Mbit; -> { rate 10Mbit; burst 30kB }")
    for node, bytes_a_second, burst in (("a", 1_250_000, 30_000), ("b", 2_500_000, 25_000)):
        (tbf,) = qdiscs(vtopo, node)
        assert (tbf["kind"], tbf["handle"], tbf["root"]) == ("tbf", "7674:", True)
        assert tbf["options"]["rate"] == bytes_a_second
        assert tbf["options"]["burst"] == pytest.approx(burst, abs=2)
    assert vtopo.node("a").links()["eth0"]["operstate"] == "UP"
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0


def test_a_rate_holds_within_a_tenth(vtopo: Vtopo) -> None:
    up(vtopo, "rate 20Mbit; -> { rate 5Mbit }")
    rate(vtopo, "a -> b", 4.5, 5.5)
    rate(vtopo, "b -> a", 18, 22)


def test_a_change_is_one_action_in_place(vtopo: Vtopo) -> None:
    up(vtopo, "rate 10Mbit")
    before = vtopo.node("a").links()["eth0"]["ifindex"]
    vtopo.exec("a", "ping", "-c3", "-i0.1", "-W2", "10.0.0.2")
    sent = qdiscs(vtopo, "a")[0]["packets"]
    assert sent >= 3
    assert up(vtopo, "rate 30Mbit") == {"update": 1}
    assert qdiscs(vtopo, "a")[0]["options"]["rate"] == 3_750_000
    assert qdiscs(vtopo, "a")[0]["packets"] >= sent, "the same qdisc, with its counters and its packets"
    assert up(vtopo, "rate 30Mbit") == {}
    assert up(vtopo, "mtu 1400") == {"update": 1}
    assert [q["kind"] for q in qdiscs(vtopo, "a")] == ["noqueue"]
    assert vtopo.node("a").links()["eth0"]["ifindex"] == before


def test_what_somebody_did_by_hand_is_drift_and_goes(vtopo: Vtopo) -> None:
    up(vtopo, "<- { rate 10Mbit }")
    argv = ["tc", "-n", vtopo.node("a").name, "qdisc", "add", "dev", "eth0", "root", "tbf"]
    subprocess.run([*argv, *["rate", "1mbit", "burst", "5kb", "latency", "10ms"]], check=True)
    subprocess.run(["tc", "-n", vtopo.node("b").name, "qdisc", "del", "dev", "eth0", "root"], check=True)
    drift = vtopo("status", "--exit-code", vtopo.lab, status=3).out
    assert "left.impairment rate 1Mbit burst 5120B → none" in drift
    assert "right.impairment none → rate 10Mbit" in drift
    assert up(vtopo, "<- { rate 10Mbit }") == {"update": 1}
    assert [q["kind"] for q in (*qdiscs(vtopo, "a"), *qdiscs(vtopo, "b"))] == ["noqueue", "tbf"]


def test_ports_of_bridges_have_rates(vtopo: Vtopo) -> None:
    text = "bridge lan { subnet 10.0.0.0/24 }\nhost a; host b\nlink a -- lan { rate 10Mbit }\nlink b -- lan\n"
    vtopo("up", vtopo.write(text))
    rate(vtopo, "b -> a", 9, 11)
    rate(vtopo, "a -> b", 9, 11)


@pytest.mark.parametrize("state", ["link", "end"])
def test_a_link_may_be_down_from_the_start(vtopo: Vtopo, state: str) -> None:
    down = "rate 10Mbit; state down" if state == "link" else "rate 10Mbit"
    text = TWO.replace("@", down)
    if state == "end":
        text = text.replace("a 10.0.0.1/24", "a 10.0.0.1/24 { state down }")
    vtopo("up", vtopo.write(text))
    assert "UP" not in vtopo.node("a").links()["eth0"]["flags"]
    assert ("UP" in vtopo.node("b").links()["eth0"]["flags"]) == (state == "end")
    assert vtopo.node("a").addresses("eth0") == {"10.0.0.1/24"}
    vtopo("up", vtopo.write(TWO.replace("@", "rate 10Mbit")))
    vtopo.exec("a", "ping", "-c1", "-W2", "10.0.0.2")


@pytest.mark.skipif(has_netem(), reason="this kernel has netem")
def test_without_netem_what_needs_it_is_refused_before_anything_is_made(vtopo: Vtopo) -> None:
    path = vtopo.write(TWO.replace("@", "delay 20ms"))
    error = vtopo("up", path, status=1).err
    assert "this kernel has no netem" in error
    assert f"{path}:3:1" in error
    assert "nothing was touched" in error
    assert vtopo.names() == []


@pytest.mark.debian
@needs_netem
def test_whatever_becomes_of_an_impairment_is_in_place(vtopo: Vtopo) -> None:
    """What it does to packets, test_netem.py measures."""
    up(vtopo, "delay 5ms")
    for impaired, kinds in (
        ("delay 5ms; rate 10Mbit", ["netem", "tbf"]),
        ("rate 10Mbit", ["tbf"]),
        ("delay 5ms; rate 10Mbit", ["netem", "tbf"]),
        ("delay 6ms; jitter 1ms", ["netem"]),
    ):
        assert up(vtopo, impaired) == {"update": 1}
        assert [q["kind"] for q in qdiscs(vtopo, "a")] == kinds
        assert up(vtopo, impaired) == {}
