"""Small labs as resources, for tests of the stages below the compiler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vtopo.compile.resources import Address, Bridge, Host, Netns, Resource, Route, Scratch, Veth, VethEnd
from vtopo.lang.source import Range


def scratch() -> Scratch:
    return Scratch(id="scratch")


def fabric() -> Netns:
    return Netns(id="fabric", name="vt-fabric")


def host(node: str, hostname: str | None = None) -> Host:
    return Host(
        id=f"{node}/host",
        needs=("scratch",),
        within=("scratch",),
        node=node,
        name=f"vt-{node}",
        hostname=hostname or node,
        origin=Range("a.vlab", 3, 1, 3, 7),
    )


def bridge(name: str, mtu: int = 1500, mac: str = "02:00:00:00:00:01") -> Bridge:
    return Bridge(
        id=f"{name}/bridge",
        needs=("fabric",),
        within=("fabric",),
        netns="fabric",
        name=name,
        mac=mac,
        mtu=mtu,
    )


def link(a: str, b: str, mtu: int = 1500, interface: str = "eth0") -> Veth:
    """A veth pair between the hosts `a` and `b`; both ends are named by their peer unless told otherwise."""
    return Veth(
        id=f"{a}--{b}/veth",
        needs=(f"{a}/host", f"{b}/host"),
        within=(f"{a}/host", f"{b}/host"),
        left=VethEnd(netns=f"{a}/host", name=f"{interface}-{b}", mac="02:00:00:00:00:02", mtu=mtu),
        right=VethEnd(netns=f"{b}/host", name=f"{interface}-{a}", mac="02:00:00:00:00:03", mtu=mtu),
    )


def port(a: str, bridge_: str, mtu: int = 1500) -> Veth:
    """A veth pair from the host `a` to a bridge of the fabric."""
    return Veth(
        id=f"{a}--{bridge_}/veth",
        needs=(f"{a}/host", "fabric", f"{bridge_}/bridge"),
        within=(f"{a}/host", "fabric"),
        left=VethEnd(netns=f"{a}/host", name=f"to-{bridge_}", mac="02:00:00:00:00:04", mtu=mtu),
        right=VethEnd(
            netns="fabric", name=f"{bridge_}-{a}", mac="02:00:00:00:00:05", mtu=mtu, master=bridge_
        ),
    )


def address(a: str, veth: Veth, text: str) -> Address:
    """An address of the host `a` on its end of `veth`."""
    end = veth.left if veth.left.netns == f"{a}/host" else veth.right
    return Address(
        id=f"{a}:{end.name}:{text}/address",
        needs=(f"{a}/host", veth.id),
        within=(f"{a}/host", veth.id),
        netns=f"{a}/host",
        device=end.name,
        address=text,
    )


def route(a: str, over: Address, destination: str, via: str) -> Route:
    return Route(
        id=f"{a}:{destination}/route",
        needs=(f"{a}/host", over.id),
        within=(f"{a}/host",),
        netns=f"{a}/host",
        destination=destination,
        via=via,
    )


def pair(mtu: int = 1500, second: str | None = None) -> tuple[Resource, ...]:
    """Two hosts, a link with two addresses, a route, and a bridge with one of the hosts on it."""
    wire = link("a", "b", mtu)
    one = address("a", wire, "10.0.0.1/24")
    return (
        scratch(),
        fabric(),
        host("a"),
        host("b", second),
        bridge("lan"),
        wire,
        port("a", "lan"),
        one,
        address("b", wire, "10.0.0.2/24"),
        route("a", one, "0.0.0.0/0", "10.0.0.2"),
    )


def without(resources: Iterable[Resource], *ids: str) -> tuple[Resource, ...]:
    """The lab less some resources and all that needs them."""
    gone = set(ids)
    kept: list[Resource] = []
    for resource in resources:
        if resource.id in gone or gone.intersection(resource.needs):
            gone.add(resource.id)
        else:
            kept.append(resource)
    return tuple(kept)


def ring(count: int) -> Sequence[Resource]:
    """`count` hosts, as many links and twice as many addresses."""
    out: list[Resource] = [scratch(), *(host(f"h{i}") for i in range(count))]
    for i in range(count):
        a, b = f"h{i}", f"h{(i + 1) % count}"
        wire = link(a, b)
        net = f"10.{i // 256}.{i % 256}"
        out += [wire, address(a, wire, f"{net}.1/24"), address(b, wire, f"{net}.2/24")]
    return out
