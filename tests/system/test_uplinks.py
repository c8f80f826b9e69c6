"""The way out: NAT, forwarded ports, real interfaces, on a machine of the tests' own with an internet behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Vtopo, World
from outside import ANSWERING, ASKING, MACHINE, MACHINE6, SERVER, SERVER6, Outside, outside

INTERNET = ("ip", "netns", "exec", "internet")
PUBLISHED = """\
uplink wan { subnet 10.9.0.0/24 2001:db8:9::/64; publish 8080:80 to web; publish 8080:80 udp to web }
host web
link web -- wan
"""

SERVING = f'run ["python3", "-c", """{ANSWERING}""", "80"]; ready tcp 80'


@pytest.fixture(scope="module")
def machine() -> Iterator[Outside]:
    world = World()
    try:
        with outside(world) as there:
            yield there
    finally:
        world.close()


@pytest.fixture
def vtopo(machine: Outside, lab_name: str, tmp_path: Path) -> Iterator[Vtopo]:
    """The command on that machine, which afterwards is as it was before."""
    before = machine.state()
    command = Vtopo(tmp_path, lab_name, machine.world.prefix)
    yield command
    for lab in (lab_name, f"{lab_name}b"):
        subprocess.run(command.argv("down", lab), env=command.environment(), capture_output=True)
    assert machine.state() == before


def asked(vtopo: Vtopo, node: str, address: str, protocol: str = "tcp", port: int = 80) -> str:
    """What a port says to somebody in a node."""
    return vtopo.exec(node, "python3", "-c", ASKING, address, str(port), protocol).out.strip()


def refused(vtopo: Vtopo, file: Path, *words: str) -> None:
    """`up` says all of these, and does nothing."""
    said = vtopo("up", file, status=1).err
    for word in words:
        assert word in said, said
    assert "nothing was touched" in said or "all is as it was before" in said


def test_nodes_reach_the_world_by_the_machines_address(machine: Outside, vtopo: Vtopo) -> None:
    file = vtopo.write(
        "uplink wan { subnet 10.9.0.0/24 2001:db8:9::/64 }\nbridge lan { subnet 10.0.0.0/24; gateway r }\n"
        "host a\nhost r { forward on; masquerade eth0 }\nhost b\n"
        "link a -- wan\nlink r -- wan\nlink r -- lan\nlink b -- lan\nexpect b reaches a\n"
    )
    vtopo("up", file)
    for node in ("a", "b"):  # b by way of r, and r's address
        assert asked(vtopo, node, SERVER) == asked(vtopo, node, SERVER, "udp") == MACHINE
    assert asked(vtopo, "a", SERVER6) == MACHINE6
    assert "enp3s0" in machine.sh("ip route get 10.9.0.2"), "the machine has no route into the lab"
    vtopo("test", file)
    assert vtopo.exec("b", "cat", "/etc/resolv.conf").out == "nameserver 192.0.2.1\n"
    # Who has the same subnets is no trouble.
    other = vtopo.write(file.read_text().partition("\n")[2], lab=f"{vtopo.lab}b")
    vtopo("up", other)
    program = ("python3", "-c", ASKING, SERVER, "80", "tcp")
    assert vtopo("exec", "--lab", f"{vtopo.lab}b", "a", "--", *program).out.strip() == MACHINE


def test_ports_of_the_machine_lead_to_a_node(machine: Outside, vtopo: Vtopo) -> None:
    file = vtopo.write(PUBLISHED.replace("host web", f"host web {{ {SERVING} }}"))
    vtopo("up", file)
    for address, stranger in ((MACHINE, "192.0.2.1"), (MACHINE6, "2001:db8:1::1")):
        for protocol in ("tcp", "udp"):
            assert machine.ask(address, 8080, protocol, INTERNET) == stranger, (
                "the client's own address is seen"
            )
    assert machine.ask(MACHINE, 8080) == MACHINE
    assert machine.ask("127.0.0.1", 8080).startswith("198."), "the machine's end of the transit"
    assert machine.ask("::1", 8080) == "ConnectionRefusedError", "who tries it there first goes on at once"
    assert asked(vtopo, "web", MACHINE, port=8080).startswith("198."), "and from the lab itself"
    # Another port, in place: the node and its link stay.
    inode = f"stat -L -c %i /run/netns/vtopo.{vtopo.lab}.web"
    before = machine.sh(inode)
    file.write_text(file.read_text().replace("8080:80 to", "8081:80 to"))
    vtopo("up", file)
    assert machine.ask(MACHINE, 8081, prefix=INTERNET) == "192.0.2.1"
    assert machine.ask(MACHINE, 8080) == "ConnectionRefusedError"
    assert machine.sh(inode) == before


def test_a_node_whose_default_route_is_another_is_published_too(machine: Outside, vtopo: Vtopo) -> None:
    vtopo(
        "up",
        vtopo.write(
            "uplink wan { subnet 10.9.0.0/24; publish 8080:80 to web }\nhost gw\n"
            f"host web {{ route default via 10.8.0.1; {SERVING} }}\n"
            "link web -- wan\nlink gw 10.8.0.1/24 -- web 10.8.0.2/24\n"
        ),
    )
    assert machine.ask(MACHINE, 8080, prefix=INTERNET) == "10.9.0.1"


def test_what_is_changed_by_hand_is_seen_and_repaired(machine: Outside, vtopo: Vtopo) -> None:
    file = vtopo.write(PUBLISHED)
    vtopo("up", file)
    table = f"inet vtopo.{vtopo.lab}.wan"
    device = machine.sh("ls /sys/class/net; ip -br link | grep -o '^vtu[0-9a-f]*'").split()[-1]
    namespace = f"ip netns exec vtopo.{vtopo.lab}.wan"
    damages = {
        f"nft flush chain {table} postrouting; {namespace} nft add rule inet vtopo postrouting counter": (
            "~ update   gate  wan/gate  drifted: rules altered → as made",
            "~ update   nat   wan/nat   drifted: rules altered → as made",
        ),
        f"nft delete table {table}; {namespace} nft flush ruleset": ("wan/gate  drifted", "wan/nat "),
        f"ip link del {device}": ("wan/gate ",),
        f"sysctl -qw net.ipv4.conf.{device}.forwarding=0": ("wan/gate ",),
    }
    for damage, told in damages.items():
        machine.sh(damage)
        plan = vtopo("plan", file).out
        assert all(text in plan for text in told), f"{damage}: {plan}"
        vtopo("up", file)
        assert asked(vtopo, "web", SERVER) == MACHINE, damage
    assert "nothing to do" in vtopo("up", file).out


def test_without_records_down_goes_by_the_tables_names(machine: Outside, vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(PUBLISHED))
    vtopo("down", vtopo.lab, env={"VTOPO_STATE_DIR": str(vtopo.folder / "other")})
    assert "vtopo" not in machine.sh("nft list ruleset; ip link")


DOCKERS = "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER"
NOT = (
    "iptables-nft -P FORWARD ACCEPT; iptables-nft -F FORWARD; "
    "iptables-nft -F DOCKER-USER; iptables-nft -X DOCKER-USER"
)


def test_a_firewall_that_drops_is_named_with_the_command_that_lets_it_pass(
    machine: Outside, vtopo: Vtopo
) -> None:
    file = vtopo.write("uplink wan { subnet 10.9.0.0/24 }\nhost a\nlink a -- wan\n")
    machine.sh(DOCKERS)
    try:
        rules = machine.sh("nft list ruleset | sed 's/packets.*bytes [0-9]*//'")
        commands = [f"iptables -I DOCKER-USER {way} vtu+ -j ACCEPT" for way in ("-i", "-o")]
        refused(vtopo, file, "-->", "Docker has the FORWARD chain drop it", *(f"`{c}`" for c in commands))
        assert machine.sh("nft list ruleset | sed 's/packets.*bytes [0-9]*//'") == rules
        for command in commands:
            machine.sh(command.replace("iptables", "iptables-nft"))
        vtopo("up", file)
        assert asked(vtopo, "a", SERVER) == MACHINE
        vtopo("down")
    finally:
        machine.sh(NOT)
    # Somebody's own chain, with an end that refuses in place of a policy.
    machine.sh("""
        nft add table inet mine
        nft add chain inet mine forward '{ type filter hook forward priority 0; policy drop; }'
    """)
    try:
        refused(
            vtopo,
            file,
            "the chain inet mine forward",
            "`nft insert rule inet mine forward iifname 'vtu*' accept`",
        )
    finally:
        machine.sh("nft delete table inet mine")


def test_what_the_machine_does_not_do_is_said_before_anything_is_made(machine: Outside, vtopo: Vtopo) -> None:
    file = vtopo.write(PUBLISHED)
    machine.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.enp3s0.forwarding=0")
    try:
        refused(vtopo, file, "does not forward IPv4", "`sysctl -w net.ipv4.ip_forward=1`")
    finally:
        machine.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.enp3s0.forwarding=1")
    machine.sh("sysctl -qw net.ipv6.conf.all.forwarding=0")
    try:
        refused(vtopo, file, "does not forward IPv6", "net.ipv6.conf.all.forwarding=1`")
    finally:
        machine.sh("sysctl -qw net.ipv6.conf.all.forwarding=1")
    machine.sh("ip route add 198.18.0.0/15 via 192.0.2.1")
    try:
        refused(vtopo, file, "is in use on it: 198.18.0.0/15 (enp3s0)", "`transit 10.255.0.0/31`")
        vtopo("up", vtopo.write(PUBLISHED.replace("publish", "transit 10.255.0.0/31; publish", 1)))
        assert asked(vtopo, "web", SERVER) == MACHINE
        second = vtopo.write(PUBLISHED.replace("10.9", "10.8"), lab=f"{vtopo.lab}b")
        machine.sh("ip route del 198.18.0.0/15")
        refused(vtopo, second, "tcp port 8080 is published already, by the uplink wan of lab")
    finally:
        machine.sh("ip route del 198.18.0.0/15 || true")


def test_a_port_in_use_is_refused(machine: Outside, vtopo: Vtopo) -> None:
    server = machine.answer(port=8080)
    try:
        refused(vtopo, vtopo.write(PUBLISHED), "tcp port 8080 is in use: python3, pid ", "publish 8080:80")
    finally:
        server.kill()
        server.wait()


def test_a_real_interface_is_bridged_in_and_given_back(machine: Outside, vtopo: Vtopo) -> None:
    text = "bridge lan\nhost a\nhost b\nlink a 10.50.0.7/24 -- office\nlink b 10.50.0.8/24 -- lan\nlink lan -- office\n"
    vtopo("up", vtopo.write('uplink office { interface "enp4s0" }\n' + text))
    for node in ("a", "b"):
        assert asked(vtopo, node, "10.50.0.1") == ("10.50.0.7" if node == "a" else "10.50.0.8")
    machine.sh(
        "ip -n internet neigh show dev office | grep -c 02: | grep -qx 2"
    )  # each by its own MAC address


def test_an_interface_that_the_machine_uses_is_shared_or_asked_for(machine: Outside, vtopo: Vtopo) -> None:
    text = "host a\nlink a 192.0.2.50/24 -- air\n"
    uplink = 'uplink air {{ interface "{}" {} }}\n'
    refused(
        vtopo,
        vtopo.write(uplink.format("enp3s0", "") + text),
        "this machine itself uses enp3s0 (its only way out over IPv4, 192.0.2.2)",
        "`takeover on`",
        'interface "enp3s0" { mode macvlan }',
    )
    refused(
        vtopo,
        vtopo.write(uplink.format("enp9s0", "") + text),
        "has no interface enp9s0; it has enp3s0, enp4s0",
    )
    machine.sh("ip link set enp4s0 down")
    try:
        refused(vtopo, vtopo.write(uplink.format("enp4s0", "") + text), "`ip link set enp4s0 up`")
    finally:
        machine.sh("ip link set enp4s0 up")
    vtopo("up", vtopo.write(uplink.format("enp3s0", "{ mode macvlan }") + text))
    assert asked(vtopo, "a", "192.0.2.1") == "192.0.2.50"
    assert machine.ask(SERVER) == MACHINE, "the machine goes on"
    vtopo("status", "--exit-code", vtopo.lab)
    assert (
        "nothing to do"
        in vtopo("up", vtopo.write(uplink.format("enp3s0", "{ mode macvlan }") + text), "-v").out
    )
    vtopo("down")
    vtopo("up", vtopo.write(uplink.format("enp3s0", "{ takeover on }") + text))
    assert asked(vtopo, "a", "192.0.2.1") == "192.0.2.50"
    vtopo("down")
    assert machine.ask(SERVER) == MACHINE, "it has it back"
