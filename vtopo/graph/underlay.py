"""The way of a tunnel's packets through the lab: whether its ends reach each other, and how large one may be.

Routes are followed hop by hop, as the lab's text has them. Where something in the lab may know better (a routing
daemon, a virtual machine, a container), a line from here to there is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.lab import Host, Interface, IPAddress, Lab, Overlay, Route, Vtep
from vtopo.model.overhead import OVERHEAD
from vtopo.model.sets import Sets
from vtopo.values import dataclass

_MOST_HOPS = 64
_MANY = 64


@dataclass(frozen=True, slots=True)
class _Way:
    """A way that leads there: the interface on it with the smallest MTU."""

    narrow: Interface | None


@dataclass(frozen=True, slots=True)
class _Stuck:
    """Why a packet does not get there, and what would mend it."""

    reason: str
    help: str


class _NoWay(Exception):
    def __init__(self, reason: str, help: str) -> None:
        super().__init__(reason)
        self.help = help


class _Unknown(Exception):
    """From here on only the running lab knows."""


class Underlay:
    """The lab as packets see it: its segments, who has which address, and where each host sends what."""

    def __init__(self, lab: Lab) -> None:
        self._hosts = {host.name: host for host in lab.hosts}
        self._bridges = {bridge.name for bridge in lab.bridges}
        self._interfaces: dict[str, list[Interface]] = {}
        self._peers: dict[str, Interface] = {}
        self._owner: dict[IPAddress, tuple[str, Interface | None]] = {}
        self._segments: Sets[str] = Sets()
        self._nodes: Sets[str] = Sets()
        for link in lab.links:
            self._segments.join(self._spot(link.left), self._spot(link.right))
            self._nodes.join(link.left.node, link.right.node)
            for end, peer in ((link.left, link.right), (link.right, link.left)):
                self._interfaces.setdefault(end.node, []).append(end)
                self._peers[end.full_name] = peer
                for address in end.addresses:
                    self._owner.setdefault(address.ip, (end.node, end))
        for device in lab.devices:
            for address in device.addresses:
                self._owner.setdefault(address.ip, (device.node, None))
        # Who may know more than the text: routing daemons, and interfaces that are no ends of links.
        self._wise = {life.node for life in lab.lives if life.commands}
        self._wise |= {device.node for device in lab.devices if device.kind != "loopback"}
        self._forwarding = {host.name for host in lab.hosts if host.forward}
        self._forwarding |= {
            life.node for life in lab.lives if any("forward" in setting.key for setting in life.sysctls)
        }

    def add(self, overlay: Overlay) -> None:
        """Other tunnels may run through this one."""
        for vtep in overlay.vteps[1:]:
            self._segments.join(overlay.vteps[0].bridge, vtep.bridge)
            self._nodes.join(overlay.vteps[0].bridge, vtep.bridge)

    def _spot(self, end: Interface) -> str:
        return end.node if end.node in self._bridges else end.full_name

    def way(self, host: str, to: IPAddress) -> _Way | _Stuck | None:
        """The way from a host to an address; None if only the running lab knows it."""
        target = self._owner.get(to)
        if target is None:
            return None
        narrow: list[Interface] = []
        at = host
        try:
            for _ in range(_MOST_HOPS):
                if at == target[0]:
                    return _Way(min(narrow, key=lambda end: end.mtu, default=None))
                if at != host:
                    self._forwards(at)
                crossed = self._hop(at, to)
                narrow += (each for end in crossed for each in (end, self._peers[end.full_name]))
                at = crossed[1].node
        except _NoWay as e:
            return _Stuck(str(e), e.help)
        except _Unknown:
            if self._nodes.root(host) == self._nodes.root(target[0]):
                return None
            return _Stuck(f"no link leads from `{host}` to `{target[0]}`", "link them")
        return _Stuck(f"the routes to {to} go round in a ring", "mend the routes")

    def of_group(self, overlay: Overlay, one: Vtep, other: Vtep) -> _Stuck | None:
        """What keeps a multicast group's packets from a tunnel end that others reach: a router, unless it is told."""
        if overlay.group is None or overlay.ttl > 1:
            return None
        ends = [
            end
            for vtep in (one, other)
            for end in self._interfaces.get(vtep.host or "", ())
            if end.name == vtep.interface
        ]
        if len({self._segments.root(self._spot(end)) for end in ends}) < 2:
            return None
        return _Stuck(
            f"no router passes on {overlay.group} by itself",
            "leave the group out; or run a multicast router, and give the overlay a `ttl`",
        )

    def _forwards(self, node: str) -> None:
        if self._hosts[node].kind == "host" and node not in self._forwarding and node not in self._wise:
            raise _NoWay(f"`{node}` is on the way, and does not forward", f"`forward on` in `{node}`")

    def _hop(self, at: str, to: IPAddress) -> tuple[Interface, Interface]:
        """The interface that a node sends by, and the one that gets it."""
        if self._hosts[at].kind != "host":
            raise _Unknown
        ends = self._interfaces.get(at, ())
        for end in ends:
            if any(to in address.network for address in end.addresses):
                return self._over(end, to)
        route = _route(self._hosts[at], to)
        by = next((end for end in ends if route is not None and end.name == route.interface), None)
        if route is not None and by is not None:
            return self._over(by, route.via)
        if at in self._wise or route is not None:
            raise _Unknown
        raise _NoWay(f"`{at}` has no route to {to}", f"give `{at}` a `route`, or join them by a link")

    def _over(self, end: Interface, hop: IPAddress) -> tuple[Interface, Interface]:
        owner, got = self._owner.get(hop, ("", None))
        if got is None:
            raise _Unknown
        if self._segments.root(self._spot(end)) != self._segments.root(self._spot(got)):
            raise _NoWay(
                f"{hop} is in the subnet of `{end.full_name}`, and no link leads from there to `{owner}`",
                "link them, or give them different subnets and a `route`",
            )
        return end, got


def _route(host: Host, to: IPAddress) -> Route | None:
    fitting = [r for r in host.routes if r.destination.version == to.version and to in r.destination]
    return max(fitting, key=lambda r: r.destination.prefixlen, default=None)


def tunnels_lead_there(lab: Lab, diagnostics: Diagnostics) -> None:
    """Every tunnel end must reach the others of its overlay, with packets as large as its frames make them."""
    underlay = Underlay(lab)
    for overlay in lab.overlays:
        underlay.add(overlay)
    for overlay in lab.overlays:
        stuck: set[frozenset[str]] = set()
        for one, other in _pairs(overlay):
            pair = frozenset((one.bridge, other.bridge))
            if pair in stuck:
                continue
            if one.host is None:  # what is beyond the machine's interface only the machine knows
                continue
            way = underlay.way(one.host, other.address)
            if way is None or isinstance(way, _Way):
                way = underlay.of_group(overlay, one, other) or way
            if isinstance(way, _Stuck):
                stuck.add(pair)
                _unreached(overlay, one, other, way, diagnostics)
            elif way is not None and _too_narrow(overlay, one, other, way, diagnostics):
                stuck.add(pair)


def _pairs(overlay: Overlay) -> Iterator[tuple[Vtep, Vtep]]:
    """All of them; of very many tunnel ends each with the first and the next one: the pairs grow by the square."""
    if len(overlay.vteps) <= _MANY:
        yield from permutations(overlay.vteps, 2)
        return
    first = overlay.vteps[0]
    for one, other in pairwise(overlay.vteps):
        yield one, other
        yield other, one
        yield first, other
        yield other, first


def _unreached(overlay: Overlay, one: Vtep, other: Vtep, stuck: _Stuck, diagnostics: Diagnostics) -> None:
    diagnostics.add(
        "E0507",
        f"the ends of overlay `{overlay.name}` do not reach each other: {stuck.reason}",
        one.range,
        f"from `{one.host}`",
        others=[Label(other.range, f"to {other.address} of `{other.host}`")],
        help=stuck.help,
    )


def _too_narrow(overlay: Overlay, one: Vtep, other: Vtep, way: _Way, diagnostics: Diagnostics) -> bool:
    room = way.narrow.mtu - OVERHEAD[other.address.version] if way.narrow is not None else overlay.mtu
    if way.narrow is None or overlay.mtu <= room:
        return False
    diagnostics.add(
        "E0501",
        f"the MTU of overlay `{overlay.name}` does not fit the way from `{one.host}` to `{other.host}`",
        overlay.range,
        f"{overlay.mtu} bytes, and {room} pass",
        others=[Label(way.narrow.range, f"{way.narrow.full_name} has an MTU of {way.narrow.mtu}")],
        help=f"`mtu {room}` in the overlay, or a larger one on the way",
    )
    return True
