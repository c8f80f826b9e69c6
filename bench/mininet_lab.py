"""The same labs in Mininet. Run as a script, by the Python that Mininet is installed for:

    mininet_lab.py ring|star N PORTS_PER_BRIDGE

Says "up SECONDS" when the lab is built and started, waits for a line, says SECONDS when it is stopped.
"""

# mypy: disable-error-code="import-not-found, misc"

import sys
import time
from ipaddress import IPv4Address

import mininet.util
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


class IproutedBridge(LinuxBridge):
    """Mininet's Linux bridge by iproute2 instead of brctl, with no more commands than the original runs."""

    def start(self, _controllers: object) -> None:
        self.cmd("ip link add", self, "type bridge")
        for interface in self.intfList():
            if self.name in interface.name:
                self.cmd("ip link set", interface, "master", self)
        self.cmd("ip link set", self, "up")

    def stop(self, deleteIntfs: bool = True) -> None:
        self.cmd("ip link del", self)
        super(LinuxBridge, self).stop(deleteIntfs)

    @classmethod
    def setup(cls) -> None:
        pass


def ring(net: Mininet, hosts: int) -> None:
    base = IPv4Address("10.0.0.0")
    nodes = [net.addHost(f"h{number}", ip=None) for number in range(1, hosts + 1)]
    for link in range(hosts):
        net.addLink(
            nodes[link],
            nodes[(link + 1) % hosts],
            params1={"ip": f"{base + 2 * link}/31"},
            params2={"ip": f"{base + 2 * link + 1}/31"},
        )


def star(net: Mininet, hosts: int, ports: int) -> None:
    for number in range(hosts):
        bridge, port = divmod(number, ports)
        if port == 0:
            switch = net.addSwitch(f"s{bridge + 1}", cls=IproutedBridge)
        host = net.addHost(f"h{number + 1}", ip=f"10.{bridge}.0.{port + 1}/16")
        net.addLink(host, switch)


def main() -> None:
    shape, hosts, ports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    setLogLevel("error")
    # The machine's own settings are not ours to raise.
    mininet.util.sysctlTestAndSet = lambda name, limit: None
    start = time.monotonic()
    net = Mininet(controller=None)
    if shape == "ring":
        ring(net, hosts)
    else:
        star(net, hosts, ports)
    net.start()
    print("up", time.monotonic() - start, flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    net.stop()
    print(time.monotonic() - start, flush=True)


if __name__ == "__main__":
    main()
