"""The same labs in munet. Run as a script, by the Python that munet is installed for:

    munet_lab.py ring|star N PORTS_PER_BRIDGE

Says "up SECONDS" when the lab stands with its addresses, and waits to be killed.
"""

# mypy: disable-error-code="import-not-found, misc, no-untyped-call"

import logging
import sys
import tempfile
import time
from ipaddress import IPv4Address

from munet.base import BaseMunet, LinuxNamespace


def address(node: LinuxNamespace, interface: str, value: str) -> None:
    node.cmd_raises(f"ip addr add {value} dev {interface}")


def ring(net: BaseMunet, hosts: int) -> None:
    base = IPv4Address("10.0.0.0")
    nodes = [net.add_host(f"h{number}") for number in range(1, hosts + 1)]
    for link in range(hosts):
        left, right = nodes[link], nodes[(link + 1) % hosts]
        net.add_link(left, right, "eth1", "eth0")
        address(left, "eth1", f"{base + 2 * link}/31")
        address(right, "eth0", f"{base + 2 * link + 1}/31")


def star(net: BaseMunet, hosts: int, ports: int) -> None:
    for number in range(hosts):
        bridge, port = divmod(number, ports)
        if port == 0:
            switch = net.add_switch(f"s{bridge + 1}")
        host = net.add_host(f"h{number + 1}")
        net.add_link(switch, host, f"p{port}", "eth0")
        address(host, "eth0", f"10.{bridge}.0.{port + 1}/16")


def main() -> None:
    shape, hosts, ports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    logging.disable()
    start = time.monotonic()
    net = BaseMunet(rundir=tempfile.mkdtemp(), unshare_inline=True)
    if shape == "ring":
        ring(net, hosts)
    else:
        star(net, hosts, ports)
    print("up", time.monotonic() - start, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
