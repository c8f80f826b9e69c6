"""Bridges, ports and VLANs: what ip(8) and bridge(8) see, what passes, and what a kernel without VLANs says."""

from __future__ import annotations

import subprocess
import time
from functools import cache
from typing import Any

import pytest
from cli import Vtopo

LAN = """\
bridge lan { subnet 10.0.0.0/24; @ }
host a; host b; host c
link a -- lan { # }
link b -- lan { isolated on }
link c -- lan
"""


@cache
def has(*words: str) -> bool:
    """Whether the kernel makes such a link."""
    argv = ["unshare", "-n", "ip", "link", "add", "probe", "type", *words]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


needs_vlans = pytest.mark.skipif(
    not has("bridge", "vlan_filtering", "1"), reason="this kernel's bridges have no VLANs"
)


def up(vtopo: Vtopo, text: str) -> dict[str, int]:
    counts: dict[str, int] = vtopo("up", vtopo.write(text), "--json").events[-1]["counts"]
    return {action: count for action, count in counts.items() if count and action != "no-op"}


def lan(bridge: str = "", port: str = "") -> str:
    return LAN.replace("@", bridge).replace("#", port)


def switch(vtopo: Vtopo, name: str = "lan") -> dict[str, Any]:
    found: dict[str, Any] = vtopo.fabric.links()[name]["linkinfo"]["info_data"]
    return found


def pings(vtopo: Vtopo, node: str, target: str, wait: int = 1) -> bool:
    argv = ["ip", "netns", "exec", vtopo.node(node).name, "ping", "-c1", f"-W{wait}", target]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def until(vtopo: Vtopo, node: str, target: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not pings(vtopo, node, target):
        assert time.monotonic() < end, f"{node} does not reach {target}"


def test_what_a_bridge_is_told_is_changed_in_place_by_one_action(vtopo: Vtopo) -> None:
    up(vtopo, lan())
    before = vtopo.fabric.links()["lan"]["ifindex"]
    options = "stp on; priority 4096; forward-delay 4s; hello-time 1s; max-age 6s; ageing 60s; multicast-snooping off"
    assert up(vtopo, lan(options)) == {"update": 1}
    told = switch(vtopo)
    assert [told[k] for k in ("stp_state", "priority", "ageing_time", "mcast_snooping")] == [1, 4096, 6000, 0]
    assert [told[k] for k in ("forward_delay", "hello_time", "max_age")] == [400, 100, 600]
    assert up(vtopo, lan(options)) == {}
    assert up(vtopo, lan("ageing 5s")) == {"update": 1}
    told = switch(vtopo)
    assert [told[k] for k in ("stp_state", "priority", "ageing_time", "mcast_snooping")] == [0, 32768, 500, 1]
    assert vtopo.fabric.links()["lan"]["ifindex"] == before


def test_what_a_port_is_told_and_isolated_ports_that_do_not_hear_each_other(vtopo: Vtopo) -> None:
    up(vtopo, lan(port="isolated on"))
    assert not pings(vtopo, "a", "10.0.0.2")
    assert pings(vtopo, "a", "10.0.0.3")
    assert up(vtopo, lan(port="learning off; flood off; cost 7; static-mac 02:00:00:00:00:aa")) == {
        "update": 1,
        "create": 1,
    }
    port = vtopo.fabric.links()["lan.eth0"]["linkinfo"]["info_slave_data"]
    assert [port[k] for k in ("isolated", "learning", "flood", "cost")] == [False, False, False, 7]
    entries = vtopo.fabric.bridge("fdb", "show", "dev", "lan.eth0")
    assert [e["state"] for e in entries if e["mac"] == "02:00:00:00:00:aa"] == ["static"]
    assert up(vtopo, lan()) == {"update": 1, "delete": 1}
    assert "02:00:00:00:00:aa" not in str(vtopo.fabric.bridge("fdb", "show"))
    assert pings(vtopo, "a", "10.0.0.2")


def test_what_somebody_told_a_bridge_by_hand_is_drift_and_goes(vtopo: Vtopo) -> None:
    text = lan("stp off", "static-mac 02:00:00:00:00:aa")
    up(vtopo, text)
    fabric = vtopo.fabric
    fabric.change("link", "set", "lan", "type", "bridge", "priority", "9", "ageing_time", "700")
    fabric.change("link", "set", "lan.eth2", "type", "bridge_slave", "isolated", "on")
    subprocess.run(
        ["bridge", "-n", fabric.name, "fdb", "del", "02:00:00:00:00:aa", "dev", "lan.eth0", "master"],
        check=True,
    )
    drift = vtopo("status", "--exit-code", vtopo.lab, status=3).out
    assert "priority 9 → 32768" in drift
    assert "ageing 7000 → 300000" in drift
    assert "right.bridge_port isolated → none" in drift
    assert up(vtopo, text) == {"update": 2, "create": 1}
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0


RING = """\
bridge s1 { stp on; forward-delay 2s; hello-time 1s; max-age 6s; priority 4096 }
bridge s[2..3] { stp on; forward-delay 2s; hello-time 1s; max-age 6s }
host a; host b
link s1:x -- s2:x
link s2:y -- s3:y
link s1:z -- s3:z { cost 200 }
link a 10.0.0.1/24 -- s1
link b 10.0.0.2/24 -- s3
"""


def states(vtopo: Vtopo) -> dict[str, str]:
    """The spanning tree's state of every port."""
    return {p["ifname"]: p["state"] for p in vtopo.fabric.bridge("link", "show") if "state" in p}


def test_a_spanning_tree_opens_a_ring_and_closes_it_when_a_link_is_gone(vtopo: Vtopo) -> None:
    up(vtopo, RING)
    until(vtopo, "a", "10.0.0.2", 30)
    ring = {port: state for port, state in states(vtopo).items() if port[-1] in "xyz"}
    assert [port for port, state in ring.items() if state == "blocking"] == ["s3.z"], "the costly way is shut"
    vtopo("link", "s1", "s2", "down")
    until(vtopo, "a", "10.0.0.2", 30)


CAMPUS = """\
bridge sw1 { vlan 10 { subnet 10.0.10.0/24; gateway r }; vlan 20 { subnet 10.0.20.0/24; gateway r } }
bridge sw2
host a[1..2]; host b; host t
host r { forward on }
link a[1..2] -- sw[1..2] { vlan 10 }
link b -- sw2 { vlan 20 }
link sw1 -- sw2 { vlan 5; trunk [10, 20..29] }
link r:e1 10.0.10.254/24 -- sw1 { vlan 10 }
link r:e2 10.0.20.254/24 -- sw1 { vlan 20 }
link t:e0 10.0.30.1/24 -- sw1:t { @ }
"""


def vlans(vtopo: Vtopo, port: str) -> dict[str, list[str]]:
    """The VLANs of a port, `20-29` for a stretch, each with its flags."""
    argv = ["bridge", "-n", vtopo.fabric.name, "-compressvlans", "vlan", "show", "dev", port]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    lines = [line.removeprefix(port).split() for line in done.stdout.splitlines()[1:] if line.strip()]
    return {words[0]: words[1:] for words in lines if words}


@needs_vlans
@pytest.mark.debian
def test_vlans_are_apart_and_a_trunk_carries_them(vtopo: Vtopo) -> None:
    up(vtopo, CAMPUS.replace("@", "vlan 30"))
    assert vlans(vtopo, "sw1.eth0") == {"10": ["PVID", "Egress", "Untagged"]}
    assert vlans(vtopo, "sw1.eth1") == {"5": ["PVID", "Egress", "Untagged"], "10": [], "20-29": []}
    assert vlans(vtopo, "sw1") == {}
    assert switch(vtopo, "sw1")["vlan_filtering"] == 1
    assert switch(vtopo, "sw1")["vlan_default_pvid"] == 0
    assert pings(vtopo, "a1", "10.0.10.2")
    assert pings(vtopo, "a1", "10.0.20.1"), "by way of the router"
    vtopo.node("b").change("addr", "add", "10.0.10.77/24", "dev", "eth0")
    assert not pings(vtopo, "a1", "10.0.10.77"), "one subnet does not make one VLAN"
    vtopo.node("b").change("addr", "del", "10.0.10.77/24", "dev", "eth0")
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0


@needs_vlans
@pytest.mark.debian
def test_vlans_are_changed_in_place_and_put_right(vtopo: Vtopo) -> None:
    up(vtopo, CAMPUS.replace("@", "vlan 30"))
    assert up(vtopo, CAMPUS.replace("@", "trunk [30, 40]; vlan 31")) == {"update": 1}
    assert vlans(vtopo, "sw1.t") == {"30": [], "31": ["PVID", "Egress", "Untagged"], "40": []}
    bridge = ["bridge", "-n", vtopo.fabric.name, "vlan"]
    subprocess.run([*bridge, "add", "vid", "99", "dev", "sw1.t"], check=True)
    subprocess.run([*bridge, "del", "vid", "40", "dev", "sw1.t"], check=True)
    drift = vtopo("status", "--exit-code", vtopo.lab, status=3).out
    assert "bridge_port vlan 31 trunk 30,99 → vlan 31 trunk 30,40" in drift
    assert up(vtopo, CAMPUS.replace("@", "trunk [30, 40]; vlan 31")) == {"update": 1}
    plain = "\n".join(
        line.split("{")[0].rstrip() for line in CAMPUS.splitlines() if not line.startswith("host r")
    )
    plain = plain.replace("link r:e1 10.0.10.254/24 -- sw1\nlink r:e2 10.0.20.254/24 -- sw1\n", "")
    up(vtopo, plain)
    assert switch(vtopo, "sw1")["vlan_filtering"] == 0
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0
    up(vtopo, CAMPUS.replace("@", "vlan 30"))
    assert vlans(vtopo, "sw1.eth0") == {"10": ["PVID", "Egress", "Untagged"]}
    assert pings(vtopo, "a1", "10.0.10.2")


@needs_vlans
@pytest.mark.debian
def test_two_overlays_extend_one_bridge_each_for_its_vlan(vtopo: Vtopo) -> None:
    up(
        vtopo,
        """\
host n[1..2] {
  bridge br
  host red; host blue
  link red -- br { vlan 10 }
  link blue -- br { vlan 20 }
}
link n1 192.168.50.1/24 -- n2 192.168.50.2/24
overlay red { vni 10; vlan 10; subnet 10.0.0.0/24; vtep n[1..2]:eth0 -- n[1..2].br }
overlay blue { vni 20; vlan 20; subnet 10.0.0.0/24; learning off; vtep n[1..2]:eth0 -- n[1..2].br }
""",
    )
    for name in ("red", "blue"):  # the addresses are the same
        vtopo.exec(f"n1.{name}", "ping", "-c1", "-W5", "10.0.0.2")
        (known,) = vtopo.node(f"n1.{name}").ip("neigh", "show", "10.0.0.2")
        assert known["lladdr"] == vtopo.node(f"n2.{name}").links()["eth0"]["address"]
    vtopo("plan", vtopo.folder / f"{vtopo.lab}.vlab", "--exit-code")


@pytest.mark.skipif(has("bridge", "vlan_filtering", "1"), reason="this kernel has them")
def test_without_vlans_what_needs_them_is_refused_before_anything_is_made(vtopo: Vtopo) -> None:
    path = vtopo.write("bridge sw\nhost a\nlink a -- sw { vlan 10 }\n")
    error = vtopo("up", path, status=1).err
    assert "this kernel's bridges tell no VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)" in error
    assert "nothing was touched" in error
    assert vtopo.names() == []


needs_own = pytest.mark.skipif(
    not (has("dummy") and has("vrf", "table", "10") and has("bond")),
    reason="this kernel has no bonds, VRFs, dummies",
)

OWN = """\
bridge sw { vlan 10 { subnet 10.0.10.0/24 } }
host a; host x; host y
host r {
  forward on
  interface b0 { bond [e0, e1] { @ } }
  interface v10 { vlan 10 on b0; # }
  interface red { vrf 10 [x, y] }
  interface d0 { dummy; address 10.9.9.9/32 }
  route default via 10.1.0.2 vrf red
}
link a -- sw { vlan 10 }
link r:e0 -- sw { trunk 10 }
link r:e1 -- sw { trunk 10 }
link r:x 10.1.0.1/30 fd00:1::1/64 -- x 10.1.0.2/30 fd00:1::2/64
link r:y 10.2.0.1/30 -- y 10.2.0.2/30
"""


@needs_vlans
@needs_own
@pytest.mark.debian
def test_interfaces_of_a_nodes_own_are_made_changed_and_put_right(vtopo: Vtopo) -> None:
    text = OWN.replace("@", "primary e0").replace("#", "")
    up(vtopo, text)
    router = vtopo.node("r")
    links = router.links()
    info = links["b0"]["linkinfo"]["info_data"]
    assert (info["mode"], info["miimon"], info["active_slave"]) == ("active-backup", 100, "e0")
    assert {name for name, link in links.items() if link.get("master") == "b0"} == {"e0", "e1"}
    assert {name for name, link in links.items() if link.get("master") == "red"} == {"x", "y"}
    assert (links["v10"]["link"], links["v10"]["linkinfo"]["info_data"]["id"]) == ("b0", 10)
    assert links["red"]["linkinfo"]["info_data"]["table"] == 10
    assert router.addresses("v10") == {"10.0.10.2/24"}
    assert router.addresses("x") == {"10.1.0.1/30", "fd00:1::1/64"}
    assert [r["gateway"] for r in router.ip("route", "show", "table", "10") if r["dst"] == "default"] == [
        "10.1.0.2"
    ]
    assert pings(vtopo, "a", "10.0.10.2", 5)
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0

    changed = OWN.replace("@", "primary e1; miimon 50ms").replace("#", "mtu 1400")
    assert up(vtopo, changed) == {"update": 4}  # the bond, both of its parts, the VLAN
    links = router.links()
    assert links["v10"]["mtu"] == 1400
    assert links["b0"]["linkinfo"]["info_data"]["miimon"] == 50

    router.change("link", "set", "x", "nomaster")
    router.change("link", "set", "d0", "down")
    assert vtopo("status", "--exit-code", vtopo.lab, status=3)
    vtopo("up", vtopo.write(changed))
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0
    assert router.addresses("x") == {"10.1.0.1/30", "fd00:1::1/64"}

    # Another mode makes the bond anew, and lets go of its parts in between.
    up(vtopo, OWN.replace("@", "mode balance-rr").replace("#", ""))
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0
    assert pings(vtopo, "a", "10.0.10.2", 5)
    # And what was in a bond or a VRF is as up afterwards as before.
    plain = [line for line in OWN.splitlines() if not line.startswith(("  interface", "  route"))]
    up(vtopo, "\n".join(plain))
    assert {name: "UP" in router.links()[name]["flags"] for name in ("e0", "e1", "x", "y")} == dict.fromkeys(
        ("e0", "e1", "x", "y"), True
    )
    assert vtopo("status", "--exit-code", vtopo.lab).status == 0


@pytest.mark.skipif(has("dummy"), reason="this kernel has them")
@pytest.mark.parametrize(
    ("said", "lack"),
    [
        ("vlan 10 on eth0", "VLAN devices (CONFIG_VLAN_8021Q)"),
        ("bond [eth0]", "bonds (CONFIG_BONDING)"),
        ("vrf 10 [eth0]", "VRFs (CONFIG_NET_VRF)"),
        ("dummy", "dummies (CONFIG_DUMMY)"),
    ],
)
def test_without_them_own_interfaces_are_refused_before_anything_is_made(
    vtopo: Vtopo, said: str, lack: str
) -> None:
    path = vtopo.write(f"host a {{ interface i {{ {said} }} }}\nhost b\nlink a -- b\n")
    error = vtopo("up", path, status=1).err
    assert f"this kernel has no {lack}" in error
    assert "nothing was touched" in error
    assert vtopo.names() == []
