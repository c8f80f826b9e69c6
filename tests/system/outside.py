"""A machine of the tests' own with an internet behind its `enp3s0`: a world, and a namespace beyond it."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from cli import World

SERVER, SERVER6 = "198.51.100.7", "2001:db8:7::7"
MACHINE, MACHINE6 = "192.0.2.2", "2001:db8:1::2"

ANSWERING = textwrap.dedent("""
    import socket, sys, threading
    def tcp(s):
        while True:
            c, peer = s.accept()
            c.sendall(peer[0].removeprefix("::ffff:").encode()); c.close()
    def udp(s):  # from the address that was asked
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        while True:
            _, to, _, peer = s.recvmsg(100, 100)
            s.sendmsg([peer[0].removeprefix("::ffff:").encode()], to, 0, peer)
    port = int(sys.argv[1])
    a = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); b.bind(("::", port))
    threading.Thread(target=tcp, args=(a,), daemon=True).start()
    print("up", flush=True)
    udp(b)
""")
"""A program that tells everybody who asks it, by TCP or UDP, their address."""

ASKING = textwrap.dedent("""
    import socket, sys
    address, port, protocol = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(3)
    try:
        s.connect((address, port))
        if protocol == "udp": s.send(b"?")
        print(s.recv(100).decode())
    except OSError as e:
        print(type(e).__name__)
""")
"""A program that asks it, and prints the answer or what went wrong."""


class Outside:
    """The machine of a world, and what is behind it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._servers: list[subprocess.Popen[bytes]] = []
        self.sh(f"""
            echo nameserver 192.0.2.1 > /run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf
            ip link set lo up
            ip netns add internet
            ip link add enp3s0 type veth peer name isp netns internet
            ip addr add {MACHINE}/24 dev enp3s0
            ip addr add {MACHINE6}/64 dev enp3s0 nodad
            ip link set enp3s0 up
            ip -n internet addr add 192.0.2.1/24 dev isp
            ip -n internet addr add 2001:db8:1::1/64 dev isp nodad
            ip -n internet addr add {SERVER}/32 dev lo
            ip -n internet addr add {SERVER6}/128 dev lo nodad
            ip -n internet link set lo up
            ip -n internet link set isp up
            ip route add default via 192.0.2.1
            ip -6 route add default via 2001:db8:1::1
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            ip link add enp4s0 type veth peer name office netns internet
            ip link set enp4s0 up
            ip -n internet addr add 10.50.0.1/24 dev office
            ip -n internet link set office up
            iptables-nft -A INPUT -p tcp --dport 22 -j DROP
            iptables-nft -P FORWARD ACCEPT
        """)
        self.answer("ip", "netns", "exec", "internet")

    def sh(self, script: str) -> str:
        """What a script prints on the machine; each of its lines is to succeed."""
        return self.world.run("sh", "-ec", script)

    def answer(self, *prefix: str, port: int = 80) -> subprocess.Popen[bytes]:
        """Have a port answer there, until the end."""
        argv = [*self.world.prefix, *prefix, "python3", "-c", ANSWERING, str(port)]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._servers.append(server)
        assert server.stdout
        assert server.stdout.readline() == b"up\n"
        return server

    def ask(self, address: str, port: int = 80, protocol: str = "tcp", prefix: tuple[str, ...] = ()) -> str:
        """What a port says to somebody on the machine, or behind `prefix`."""
        argv = (*prefix, "python3", "-c", ASKING, address, str(port), protocol)
        return self.world.run(*argv).strip()

    def state(self) -> str:
        """What a lab must not change: interfaces, addresses, routes, rules and settings of the machine.

        Link-local addresses are left out: the kernel is busy with them for seconds after a link has come up.
        """
        return self.sh(r"""
            ip -o link | sed 's/qdisc.*//'
            ip -o addr | sed 's/ tentative//; s/valid_lft.*//' | grep -v fe80:
            (ip route show table all; ip -6 route show table all) | grep -v 'fe80:\|ff00:' | sort; ip rule
            nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'
            cd /proc/sys/net
            cat ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/*/forwarding ipv4/conf/*/route_localnet
            ls ipv4/conf
        """)

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
            assert server.stdout
            server.stdout.close()


@contextmanager
def outside(world: World) -> Iterator[Outside]:
    there = Outside(world)
    try:
        yield there
    finally:
        there.close()
