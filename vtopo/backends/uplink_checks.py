"""What of an uplink this machine cannot do, said before anything is made; the machine is looked at, and left alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from vtopo.backends import dump, machine_ports, nft
from vtopo.backends import nft_messages as m
from vtopo.backends.base import Failed
from vtopo.backends.dump import Link
from vtopo.backends.gates import chains
from vtopo.backends.links import is_ours
from vtopo.backends.machine_routes import RTPROT_RA, MachineRoute, routes, ways_out
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.backends.settings import read_sysctl
from vtopo.backends.syscalls import CLONE_NEWNET, unshare
from vtopo.backends.threads import apart
from vtopo.compile.resources import Gate, MachineVxlan, Macvlan, PortForward, Resource
from vtopo.model.overhead import OVERHEAD


class Checks:
    """What the machine has, looked at once for a batch."""

    def __init__(self) -> None:
        socket = NetlinkSocket()
        try:
            self.links = dump.links(socket)
            self.routes = routes(socket, self.links)
        finally:
            socket.close()

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Those that cannot be made or changed."""
        for r in batch:
            if isinstance(r, Gate):
                reasons = self._gate(r)
            elif isinstance(r, Macvlan):
                reasons = self._macvlan(r)
            elif isinstance(r, MachineVxlan):
                reasons = self._tunnel(r)
            else:
                continue
            if (reason := next(reasons, None)) is not None:
                yield Failed(r.id, reason)

    # NAT

    def _gate(self, r: Gate) -> Iterator[str]:
        if (lack := _no_nft()) is not None:
            yield lack
        for subnet in map(ipaddress.ip_network, r.subnets):
            yield from self._forwarding_is_off(subnet.version)
            for route in self.routes:
                near = route.to.version != subnet.version or route.is_default or r.device in route.devices
                if not near and route.to.overlaps(subnet):
                    yield (
                        f"{subnet}, which is to be between the lab and this machine, is in use on it: {route}. "
                        f"Write another in the uplink's block, such as `transit {_another(subnet, self.routes)}`"
                    )
        yield from self._ports(r)

    def _forwarding_is_off(self, version: int) -> Iterator[str]:
        """A packet is forwarded if the interface that it comes in by forwards; of IPv6, if all do."""
        if version == 4:
            off = [
                d
                for d in ways_out(self.routes, 4) or ["all"]
                if not _is_on(f"net.ipv4.conf.{_key(d)}.forwarding")
            ]
            if off:
                yield (
                    "this machine does not forward IPv4, and vtopo changes no setting of the machine's: "
                    "`sysctl -w net.ipv4.ip_forward=1` does, until the next boot"
                )
        elif not _is_on("net.ipv6.conf.all.forwarding"):
            told = [
                r.devices[0]
                for r in self.routes
                if r.to.version == 6 and r.protocol == RTPROT_RA and r.devices
            ]
            first = f"sysctl -w net.ipv6.conf.{_key(told[0])}.accept_ra=2 " if told else ""
            why = f" ({told[0]} is told its routes by a router, and would listen no longer)" if told else ""
            yield (
                "this machine does not forward IPv6, and vtopo changes no setting of the machine's: "
                f"`{first}{'&& ' if first else ''}sysctl -w net.ipv6.conf.all.forwarding=1` does, until the next "
                f"boot{why}. Or leave the IPv6 subnet out"
            )

    def _ports(self, r: Gate) -> Iterator[str]:
        for f in {(f.protocol, f.port): f for f in r.forwards}.values():
            if (table := _publisher(f, r.table)) is not None:
                yield f"the machine's {f.protocol} port {f.port} is published already, by {table}"
            elif (holder := machine_ports.holder(f.protocol, f.port)) is not None:
                yield f"the machine's {f.protocol} port {f.port} is in use: {holder}"

    # Real interfaces

    def _macvlan(self, r: Macvlan) -> Iterator[str]:
        link = self.links.get(r.interface)
        if link is None:
            yield self._missing(r.interface)
            return
        if r.interface == "lo" or is_ours(link):
            yield f"{r.interface} is no interface that a lab can be plugged into"
        if link.master:
            owner = next((n for n, each in self.links.items() if each.index == link.master), "something")
            yield f"{r.interface} is a part of {owner}: name that, or take it out of there"
        if Path(f"/sys/class/net/{r.interface}/wireless").exists():
            yield f"{r.interface} is wireless, and carries no MAC address but its own: use NAT"
        yield from _down(link)
        if r.mtu > link.mtu:
            yield f"{r.interface} has an MTU of {link.mtu}, and the lab's is {r.mtu}: write `mtu {link.mtu}`"
        if r.mode == "passthru" and not r.takeover and (use := self._use(link)):
            yield (
                f"this machine itself uses {r.interface} ({use}) and would lose it while the lab is up: "
                f'write `interface "{r.interface}" {{ mode macvlan }}` to share it, or `takeover on` to take it'
            )

    def _missing(self, name: str) -> str:
        others = sorted(name for name, each in self.links.items() if name != "lo" and not is_ours(each))
        return f"this machine has no interface {name}; it has {', '.join(others) or 'none'}"

    # Tunnels

    def _tunnel(self, r: MachineVxlan) -> Iterator[str]:
        link = self.links.get(r.device)
        if link is None:
            yield self._missing(r.device)
            return
        yield from _down(link)
        local = ipaddress.ip_address(r.local)
        own = [
            each.to.network_address
            for each in self.routes
            if each.is_own and link.name in each.devices and each.to.version == local.version
        ]
        wide = [address for address in own if not address.is_link_local]
        if not wide:
            yield f"{r.device} has no IPv{local.version} address that a tunnel could send from"
        elif not local.is_unspecified and local not in own:
            yield f"{r.device} has no address {local}; it has {', '.join(map(str, wide))}"
        room = link.mtu - OVERHEAD[local.version]
        if r.mtu > room:
            yield (
                f"{r.device} has an MTU of {link.mtu}, which leaves {room} in a tunnel, and the overlay's is {r.mtu}: "
                f"write `mtu {room}` in its block, on all machines"
            )
        for name, other in self.links.items():
            if other.vxlan is not None and (other.vxlan.vni, other.vxlan.port) == (r.vni, r.port):
                yield (
                    f"this machine has a tunnel of VNI {r.vni} on UDP port {r.port} already, {name}: "
                    "give the overlay another `vni`, on all machines"
                )

    def _use(self, link: Link) -> str:
        """What the machine has an interface for."""
        mine = [r for r in self.routes if link.name in r.devices and not _is_everybodys(r)]
        addresses = [str(r.to.network_address) for r in mine if r.is_own]
        for version in (4, 6):
            out = ways_out(self.routes, version)
            if link.name in out:
                only = "its only way out" if out == [link.name] else "a way out"
                return f"{only} over IPv{version}{f', {addresses[0]}' if addresses else ''}"
        return addresses[0] if addresses else ""


def _down(link: Link) -> Iterator[str]:
    if not link.is_up:
        yield f"{link.name} is down: `ip link set {link.name} up`"


def _is_everybodys(route: MachineRoute) -> bool:
    return route.to.network_address.is_link_local or route.to.network_address.is_multicast


def _key(device: str) -> str:
    return device.replace(".", "/")


def _is_on(key: str) -> bool:
    try:
        return read_sysctl(key) != "0"
    except OSError:
        return False


def _another(subnet: ipaddress.IPv4Network | ipaddress.IPv6Network, found: Sequence[MachineRoute]) -> str:
    """A pair of addresses that no route of the machine's leads to."""
    text = "10.255.0.0/16" if subnet.version == 4 else "fd76:746f:706f::/48"
    pairs = ipaddress.ip_network(text).subnets(new_prefix=subnet.max_prefixlen - 1)
    taken = [r.to for r in found if r.to.version == subnet.version and not r.is_default]
    return str(next(pair for pair in pairs if not any(to.overlaps(pair) for to in taken)))


def _publisher(f: PortForward, own: str) -> str | None:
    """Another uplink whose table forwards the same port of the machine."""
    wanted = nft.told(m.goes_to_port(f.protocol, f.port))
    with nft.opened() as socket:
        for table in nft.tables(socket):
            if not table.startswith("vtopo.") or table == own:
                continue
            for chain, rule in nft.rules(socket, table):
                starts = range(len(rule) - len(wanted) + 1)
                if chain == "prerouting" and any(rule[at : at + len(wanted)] == wanted for at in starts):
                    _, lab, uplink = table.split(".", 2)
                    return f"the uplink {uplink} of lab {lab}"
    return None


@cache
def _no_nft() -> str | None:
    """What this kernel lacks for a table such as every gate has, tried in an empty namespace of which nothing stays."""
    r = Gate(
        id="",
        netns="",
        device="x",
        table="x",
        mac="",
        machine_mac="",
        mtu=1500,
        subnets=("198.18.0.0/31", "fd00::/127"),
        forwards=(PortForward(protocol="tcp", port=1, address="198.18.0.1", to_port=1),),
    )

    def ask() -> str | None:
        unshare(CLONE_NEWNET)
        with nft.opened() as socket:
            answer = nft.put(socket, r.table, chains(r))
        return f"this kernel's nftables cannot translate addresses: {answer}" if answer.errno else None

    try:
        return apart(ask)
    except OSError as e:
        return f"this kernel has no nftables ({e.strerror})"
