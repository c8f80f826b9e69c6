"""Every lab in labs/ comes up as its file says, holds its own expectations, and goes without a trace."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from cli import LABS, Vtopo, World, with_lab_name
from groups import Groups, version
from hypervisor_daemons import URI
from lab import ip
from machine import look, settle
from outside import ASKING, MACHINE, SERVER, Outside, outside

from vtopo.backends.features import unable
from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import check_source
from vtopo.lang.source import Source


def quickstart(vtopo: Vtopo) -> None:
    a, b = vtopo.node("a"), vtopo.node("b")
    assert vtopo.names() == sorted([a.name, b.name]), "no fabric: its one LAN is a cable"
    assert a.addresses("eth0") == {"10.0.0.1/24"}
    assert b.addresses("eth0") == {"10.0.0.2/24"}
    ends = [node.links()["eth0"] for node in (a, b)]
    assert [end["link_index"] for end in ends] == [end["ifindex"] for end in reversed(ends)]
    assert {end["mtu"] for end in ends} == {1500}


def campus(vtopo: Vtopo) -> None:
    links = vtopo.fabric.links()
    switches = {n for n, link in links.items() if link.get("linkinfo", {}).get("info_kind") == "bridge"}
    assert switches == {"core", "floor1", "floor2", "floor3", "floor4"}
    ports = {s: sum(link.get("master") == s for link in links.values()) for s in switches}
    assert ports == {"core": 4, "floor1": 12, "floor2": 12, "floor3": 12, "floor4": 12}
    assert vtopo.fabric.addresses("core") == {"10.20.3.254/22"}
    desks = [f"desk{i}-{j}" for i in range(1, 5) for j in range(1, 12)]
    assert vtopo.names() == sorted([vtopo.fabric.name, *(vtopo.node(d).name for d in desks)])
    numbers = [vtopo.node(desk).addresses("eth0") for desk in desks]
    assert numbers == [{f"10.20.0.{n}/22"} for n in range(1, 45)]


def routers(vtopo: Vtopo) -> None:
    r1, r2, pc1 = vtopo.node("r1"), vtopo.node("r2"), vtopo.node("pc1")
    for router in (r1, r2, vtopo.node("r3")):
        assert router.sysctl("net.ipv4.ip_forward") == "1"
        assert router.sysctl("net.ipv6.conf.all.forwarding") == "1"
    assert pc1.sysctl("net.ipv4.ip_forward") == "0"
    assert {n: link["mtu"] for n, link in r1.links().items() if n != "lo"} == {"lan": 1500, "east": 9000}
    assert r1.addresses("east") == {"10.1.0.0/31", "2001:db8:ff::/127"}
    assert r2.addresses("west") == {"10.1.0.1/31", "2001:db8:ff::1/127"}
    assert r1.routes() == {"10.0.2.0/24": "10.1.0.1"}
    assert r2.routes() == {"10.0.1.0/24": "10.1.0.0", "10.0.2.0/24": "10.1.0.3"}
    assert pc1.routes() == {"default": "10.0.1.254"}
    assert pc1.routes("-6") == {"default": "2001:db8:1::ff"}
    assert pc1.addresses("eth0") == {"10.0.1.1/24", "2001:db8:1::1/64"}


def overlay(vtopo: Vtopo) -> None:
    for host, own, other in (
        ("host1", "192.168.1.10", "192.168.1.20"),
        ("host2", "192.168.1.20", "192.168.1.10"),
    ):
        node = vtopo.node(host)
        links = node.links()
        assert {n: link["mtu"] for n, link in links.items() if n != "lo"} == {
            "eth0": 1500,
            "br0": 1450,
            "br0.eth0": 1450,
            "vxlan100": 1450,
        }
        tunnel = links["vxlan100"]["linkinfo"]["info_data"]
        assert (tunnel["id"], tunnel["port"], tunnel["local"]) == (100, 4789, own)
        assert links["br0.eth0"]["master"] == links["vxlan100"]["master"] == "br0"
        assert node.addresses("eth0") == {f"{own}/24"}
        assert floods(vtopo, host, "vxlan100") == {other}
    assert vtopo.node("host1.a").links()["eth0"]["mtu"] == 1450


def fabric(vtopo: Vtopo) -> None:
    underlay = {f"192.168.50.{i}" for i in (1, 2, 3)}
    for i in (1, 2, 3):
        node = vtopo.node(f"n{i}")
        links = node.links()
        for name, vni, port, bridge in (
            ("vxlan4001", 4001, 4789, "red"),
            ("vxlan4002", 4002, 8472, "green"),
        ):
            tunnel = links[name]["linkinfo"]["info_data"]
            assert (tunnel["id"], tunnel["port"], tunnel["local"]) == (vni, port, f"192.168.50.{i}")
            assert (links[name]["mtu"], links[name]["master"]) == (8950, bridge)
            assert floods(vtopo, f"n{i}", name) == underlay - {f"192.168.50.{i}"}
        assert links["eth0"]["mtu"] == 9000
        assert vtopo.node(f"n{i}.web").addresses("eth0") == {f"10.1.0.{i}/24"}
        assert vtopo.node(f"n{i}.db").addresses("eth0") == {f"10.2.0.{i}/24"}
        assert vtopo.node(f"n{i}.web").links()["eth0"]["mtu"] == 8950


def rack(vtopo: Vtopo) -> None:
    assert vtopo.node("tor").addresses("down") == {"10.9.0.1/24"}
    for n in (1, 2, 3):
        server = vtopo.node(f"server{n}")
        assert server.addresses("eth0") == {f"10.9.0.{n + 1}/24"}
        assert server.routes() == {"default": "10.9.0.1"}


def racks(vtopo: Vtopo) -> None:
    links = vtopo.fabric.links()
    switches = {n for n, link in links.items() if link.get("linkinfo", {}).get("info_kind") == "bridge"}
    assert switches == {f"rack{n}.switch" for n in (1, 2, 3)}
    for s in (1, 2):
        spine = vtopo.node(f"spine{s}")
        # The pool's blocks go out link by link: rack 1 to spine 1, rack 1 to spine 2, rack 2 to spine 1 …
        blocks = [4 * r + 2 * (s - 1) for r in range(3)]
        assert [spine.addresses(f"eth{r}") for r in range(3)] == [{f"10.255.0.{b + 1}/31"} for b in blocks]
        assert spine.addresses("lo") >= {f"10.254.0.{s - 1}/32"}
        assert spine.routes() == {f"10.16.{r + 1}.0/24": f"10.255.0.{blocks[r]}" for r in range(3)}
        assert {link["mtu"] for name, link in spine.links().items() if name != "lo"} == {9000}
    for r in (1, 2, 3):
        assert vtopo.node(f"rack{r}.server2").addresses("eth0") == {f"10.16.{r}.3/24"}


def tenants(vtopo: Vtopo) -> None:
    for m in (1, 2, 3):
        links = vtopo.node(f"m{m}").links()
        for name, vni in (("red", 7001), ("blue", 7002)):
            assert links[f"vxlan{vni}"]["linkinfo"]["info_data"]["id"] == vni
            assert links[f"vxlan{vni}"]["master"] == f"br-{name}"
            assert vtopo.node(f"m{m}.app-{name}").addresses("eth0") == {f"10.0.0.{m}/24"}
            assert vtopo.node(f"m{m}.app-{name}").links()["eth0"]["mtu"] == 1450


def ipv6(vtopo: Vtopo) -> None:
    for s in (1, 2):
        edge = vtopo.node(f"edge{s}")
        assert edge.addresses("up") == {f"2001:db8:4200::{2 * s:x}/127"}
        assert edge.routes("-6")["default"] == f"2001:db8:4200::{2 * s + 1:x}"
        assert edge.routes() == {}
        for n in (1, 2, 3):
            pc = vtopo.node(f"pc{s}-{n}")
            assert pc.addresses("eth0") == {f"2001:db8:420{s}:1::{n + 1:x}/64"}
            assert pc.routes("-6") == {"default": f"2001:db8:420{s}:1::1"}
    provider = vtopo.node("provider").routes("-6")
    assert provider == {f"2001:db8:420{s}::/48": f"2001:db8:4200::{2 * s:x}" for s in (1, 2)}


def backbone(vtopo: Vtopo) -> None:
    chain = ["Seattle", "Denver", "KansasCity", "Indianapolis", "Chicago", "NewYork"]
    for n, city in enumerate(chain):
        routes = vtopo.node(f"r-{city}").routes()
        east = {"10.50.2.0/24": f"10.100.0.{2 * n + 1}"} if n < 5 else {}
        west = {"10.50.1.0/24": f"10.100.0.{2 * n - 2}"} if n > 0 else {}
        assert routes == east | west
    assert vtopo.node("r-Seattle").addresses("lo") >= {"10.200.0.0/32"}
    assert len(vtopo.names()) == 14
    assert vtopo.node("student-NewYork").routes() == {"default": "10.50.2.1"}


def limits(vtopo: Vtopo) -> None:
    groups = {node: Groups(vtopo.node(node).pid) for node in ("heavy", "light", "half", "closed", "worker3")}
    weights = [groups[node].file("cpu", "cpu.shares", "cpu.weight") for node in ("heavy", "light")]
    assert weights == (["1024", "512"] if version("cpu") == 1 else ["100", "50"])
    assert {groups[node].file("cpuset", "cpuset.cpus") for node in ("heavy", "light")} == {"0"}
    assert groups["half"].file("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    for node in ("half", "closed", "worker3"):
        assert groups[node].file("memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        assert groups[node].file("pids", "pids.max") == "50"
    script = "mknod /tmp/k c 1 11 2>/dev/null || echo refused; : < /dev/null && echo null"
    assert vtopo.exec("closed", "sh", "-c", script).out.split() == ["refused", "null"]


def impaired(vtopo: Vtopo) -> None:
    rates = {}
    for node, device in (("home", "eth0"), ("isp", "eth0"), ("isp", "eth1"), ("server", "eth0")):
        argv = ["tc", "-n", vtopo.node(node).name, "-j", "qdisc", "show", "dev", device]
        (tbf,) = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        assert tbf["kind"] == "tbf"
        rates[node, device] = tbf["options"]["rate"] * 8 / 1e6
    assert rates == {
        ("home", "eth0"): 2,
        ("isp", "eth0"): 8,
        ("isp", "eth1"): 1000,
        ("server", "eth0"): 1000,
    }


def vm_firewall(vtopo: Vtopo) -> None:
    """The guest's taps are joined with the plugs of its links; nothing of them is in the machine's own namespace."""
    plugs = vtopo.node("fw").links()
    taps = sorted(name for name in plugs if name.startswith("vt"))
    assert sorted(set(plugs) - {"lo", *taps}) == ["eth0", "eth1"]
    assert [plugs[tap]["linkinfo"]["info_kind"] for tap in taps] == ["tun", "tun"]
    assert {plugs[name]["mtu"] for name in ("eth0", "eth1", *taps)} == {1500}
    assert not [link["ifname"] for link in ip("link") if link["ifname"] in taps]
    domain = virsh("dominfo", f"vtopo.{vtopo.lab}.fw")
    assert re.search(r"State: +running", domain)
    assert re.search(r"Persistent: +no", domain)
    assert re.search(r"Max memory: +98304 KiB", domain)
    assert "vm up" in " ".join((vtopo("status", vtopo.lab).out).split())


def mixed(vtopo: Vtopo) -> None:
    """Three kinds of nodes are three ports of one bridge, and commands run in each."""
    ports = [n for n, link in vtopo.fabric.links().items() if link.get("master") == "lan"]
    assert len(ports) == 3
    for node, name in (("client", "client"), ("web", "web")):
        assert vtopo.exec(node, "hostname").out == f"{name}\n"
    assert vtopo.exec("box", "cat", "/proc/1/comm").out.strip() != ""
    plug = vtopo.node("web").links()["eth0"]
    assert (plug["mtu"], vtopo.node("client").addresses("eth0")) == (1500, {"10.0.0.1/24"})
    assert "vm up" in " ".join((vtopo("status", vtopo.lab).out).split())


def vm_tuned(vtopo: Vtopo) -> None:
    name = f"vtopo.{vtopo.lab}.db"
    scheduler = virsh("schedinfo", name)
    for key, value in (("cpu_shares", 512), ("global_period", 100000), ("global_quota", 150000)):
        assert re.search(rf"{key} *: {value}\n", scheduler)
    assert re.search(r"^ 0 +0$", virsh("vcpupin", name), re.MULTILINE)
    pages = dict(re.findall(r"HugePages_(\w+): +([0-9]+)", Path("/proc/meminfo").read_text()))
    assert int(pages["Total"]) >= 48
    assert int(pages["Total"]) - int(pages["Free"]) >= 48
    assert re.search(r"vda +/.*/db.data.qcow2", virsh("domblklist", name))


def containers(vtopo: Vtopo) -> None:
    client = docker.APIClient(version="auto")
    told = {n: client.inspect_container(f"vtopo.{vtopo.lab}.c{n}") for n in range(1, 9)}
    client.close()
    for n, each in told.items():
        assert (each["State"]["Status"], each["HostConfig"]["NetworkMode"]) == ("running", "none")
        assert (each["HostConfig"]["Memory"], each["HostConfig"]["PidsLimit"]) == (64 << 20, 100)
        inside = Path(f"/proc/{each['State']['Pid']}/ns/net").stat().st_ino
        assert vtopo.node(f"c{n}").inode == inside
        assert vtopo.node(f"c{n}").addresses("eth0") == {f"10.{n}.0.2/30"}
        assert vtopo.node(f"c{n}").addresses("eth1") == {f"10.{n}.1.1/30"}
        assert vtopo.node(f"h{n % 8 + 1}").addresses("eth1" if n == 8 else "eth0") == {f"10.{n}.1.2/30"}


def ospf(vtopo: Vtopo) -> None:
    """Routes come from the daemons; without the link on the way they go round, and come back with it."""
    r1, r2 = vtopo.node("r1"), vtopo.node("r2")
    # On every router: a packet may go either way round, and its answer comes back.
    until(
        lambda: all(neighbour(vtopo, f"r{i}", lan) for i in range(1, 6) for lan in ("10.1.0.2", "10.3.0.2"))
    )
    until(lambda: neighbour(vtopo, "r2", "10.1.0.2") == "r1")
    assert {r["protocol"] for r in r1.ip("route") if r["dst"] == "10.3.0.0/24"} == {"bird"}
    assert vtopo.exec("left", "ping", "-c1", "-W5", "right").status == 0
    r2.change("link", "set", "r1", "down")
    until(lambda: neighbour(vtopo, "r2", "10.1.0.2") == "r3")
    r2.change("link", "set", "r1", "up")
    until(lambda: neighbour(vtopo, "r2", "10.1.0.2") == "r1")
    assert [line for line in vtopo("logs", "r1", "bird").out.splitlines() if "<INFO> Started" in line]


def neighbour(vtopo: Vtopo, node: str, target: str) -> str:
    """The interface by which a node sends to an address; empty if it has no route there."""
    command = ["ip", "-n", vtopo.node(node).name, "-j", "route", "get", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return str(json.loads(done.stdout)[0]["dev"]) if done.returncode == 0 else ""


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def virsh(*words: str) -> str:
    """What libvirt says."""
    command = ["virsh", "-c", URI, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def floods(vtopo: Vtopo, host: str, device: str) -> set[str]:
    """Where a tunnel end sends broadcast and unknown frames."""
    entries = vtopo.node(host).bridge("fdb", "show", "dev", device)
    return {e["dst"] for e in entries if e["mac"] == "00:00:00:00:00:00"}


def way_out(there: Outside, vtopo: Vtopo) -> None:
    """The firewall hides the office, and this machine hides both; the web server is seen from the internet."""
    fetch = f"import urllib.request as u; print(u.urlopen('http://{MACHINE}:8080').read())"
    seen = there.world.run("ip", "netns", "exec", "internet", "python3", "-c", fetch)
    assert seen == "b'It works.\\n'\n"
    assert vtopo.exec("pc1", "python3", "-c", ASKING, SERVER, "80", "tcp").out.strip() == MACHINE


def vlan_campus(vtopo: Vtopo) -> None:
    """The router is in both VLANs, by tags on its one cable; guests' ports do not hear each other."""
    links = vtopo.node("r").links()
    for name, number in (("staff", 10), ("guests", 20)):
        assert links[name]["link"] == "eth0"
        assert links[name]["linkinfo"]["info_data"]["id"] == number
    assert vtopo.fabric.links()["ground"]["linkinfo"]["info_data"]["vlan_filtering"] == 1
    assert vtopo.node("clerk2").routes() == {"default": "10.0.10.1"}
    ports = vtopo.fabric.links()
    assert ports["first.eth1"]["linkinfo"]["info_slave_data"]["isolated"]


def bond_vrf(vtopo: Vtopo) -> None:
    """The bond sends by its primary, and by the other when that is gone; each VRF has its own table."""

    def active() -> str:
        return str(vtopo.node("server").links()["bond0"]["linkinfo"]["info_data"].get("active_slave"))

    assert active() == "a"
    vtopo("link", "server:a", "switch", "down")
    until(lambda: active() == "b")
    vtopo("link", "server:a", "switch", "up")
    until(lambda: active() == "a")
    for vrf in ("red", "blue"):
        routes = vtopo.node("edge").ip("route", "show", "vrf", vrf)
        assert ("10.9.0.0/16", "172.16.0.2") in {(r["dst"], r.get("gateway")) for r in routes}


FACTS: dict[str, Callable[[Vtopo], None]] = {
    "quickstart": quickstart,
    "campus": campus,
    "routers": routers,
    "overlay": overlay,
    "fabric": fabric,
    "rack": rack,
    "racks": racks,
    "tenants": tenants,
    "ipv6": ipv6,
    "backbone": backbone,
    "ospf": ospf,
    "limits": limits,
    "vm-firewall": vm_firewall,
    "vm-tuned": vm_tuned,
    "mixed": mixed,
    "impaired": impaired,
    "containers": containers,
    "vlan-campus": vlan_campus,
    "bond-vrf": bond_vrf,
}


def lacking(path: Path) -> str:
    """What this kernel has not got of what a lab needs; empty if it has all."""
    checked = check_source(Source(path.name, path.read_text()))
    assert checked.lab is not None
    return next((failed.reason for failed in unable(compile_lab(checked.lab))), "")


NEEDS = {"vlan-campus", "bond-vrf"}
"""Those that need what is not in every kernel."""

IN_DEBIAN = {"quickstart", "limits", "vlan-campus", "bond-vrf"}
"""Those that also run in the Debian guest, which emulates every instruction: the smallest, and what its kernel has."""

IN_A_WORLD = {"way-out"}
"""Those that lead out of the machine: a machine of the tests' own, with an internet behind it."""


@pytest.fixture
def outside_world(world: World) -> Iterator[Outside]:
    with outside(world) as there:
        yield there


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Where a lab runs besides this machine, and what it needs there."""
    found = [pytest.mark.debian] if name in IN_DEBIAN else []
    if name.startswith("vm-") or name == "mixed":
        found.append(pytest.mark.beforehand("hypervisor", "small_guest"))
    if name in ("containers", "mixed"):
        found.append(pytest.mark.beforehand("engine"))
    return found


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=marks(path.stem)) for path in sorted(LABS.glob("*.vlab"))],
)
def test_lab(path: Path, vtopo: Vtopo, request: pytest.FixtureRequest) -> None:
    if path.stem in IN_A_WORLD:
        there = request.getfixturevalue("outside_world")
        vtopo = request.getfixturevalue("inner")
    before = look()
    lab = with_lab_name(path, vtopo.lab, vtopo.folder)
    if path.stem in NEEDS and (reason := lacking(path)):
        pytest.skip(reason)
    vtopo("up", lab, patience=300, fresh=True)
    if path.stem in IN_A_WORLD:
        way_out(there, vtopo)
    else:
        FACTS[path.stem](vtopo)
    tested = vtopo("test", lab, fresh=True)
    assert "FAIL" not in tested.out
    assert "0 failed" in tested.out
    vtopo("down", lab, fresh=True)
    assert settle(before) == []
    assert not vtopo.state.exists() or list((vtopo.state / "labs").iterdir()) == []


def test_an_expectation_that_does_not_hold_fails(vtopo: Vtopo) -> None:
    text = "host a\nhost b\nlink a 10.0.0.1/24 -- b 10.0.0.2/24\n"
    lab = vtopo.write(text + "expect a reaches b within 1s\nexpect a reaches 10.0.0.9 within 1s\n")
    vtopo("up", lab)
    tested = vtopo("test", "--json", lab, status=1).json
    assert [e["passed"] for e in tested["expectations"]] == [True, False]
    vtopo.node("b").change("link", "set", "eth0", "down")
    assert vtopo("test", "--json", lab, status=1).json["failed"] == 2
