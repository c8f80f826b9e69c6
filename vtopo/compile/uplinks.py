"""Uplinks to resources: a router's namespace with NAT and its gate to the machine, or a macvlan on a real interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vtopo.compile import resources as res
from vtopo.compile.machine_names import gate_device
from vtopo.model.draft import mac_of
from vtopo.model.lab import Bridge, Interface, Lab, Link, Uplink

NameOf = Callable[[str, str | None], str]
"""The name of something of a lab's on the machine, by the lab's and the node's names."""

_LINK_LOCAL = "fe80::1/64"
_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


def netns_id(uplink: str) -> str:
    """The id of the namespace that an uplink's switch is in."""
    return f"{uplink}/netns"


def namespace(lab: Lab, uplink: Bridge, name_of: NameOf) -> res.Netns:
    """Where an uplink's switch is: no bridge of the lab's fabric is to be a router's neighbour."""
    name = name_of(lab.name, uplink.name)
    return res.Netns(id=netns_id(uplink.name), origin=uplink.range, name=name)


def way_out(
    lab: Lab, uplink: Uplink, switch: Bridge, bridge: res.Bridge, name_of: NameOf
) -> Iterator[res.Resource]:
    """What joins an uplink's switch with the machine."""
    if uplink.interface is not None:
        yield res.Macvlan(
            id=f"{uplink.name}/macvlan",
            needs=(bridge.netns, bridge.id),
            within=(bridge.netns,),
            origin=uplink.range,
            netns=bridge.netns,
            name=gate_device(lab.name, uplink.name),
            interface=uplink.interface,
            mode="passthru",
            mac="",
            mtu=bridge.mtu,
            master=bridge.name,
            takeover=uplink.takeover,
        )
        return
    netns, device = bridge.netns, gate_device(lab.name, uplink.name)
    for version in sorted({address.version for address in switch.addresses}):
        yield res.Sysctl(
            id=f"{uplink.name}/sysctl/{_FORWARDING[version]}",
            needs=(netns,),
            within=(netns,),
            origin=uplink.range,
            netns=netns,
            key=_FORWARDING[version],
            value="1",
        )
        if version == 6:  # a router of IPv6 asks for its neighbours from a link-local address
            yield res.Address(
                id=f"{uplink.name}/address/{_LINK_LOCAL}",
                needs=(bridge.id,),
                within=(bridge.id,),
                origin=uplink.range,
                netns=netns,
                device=bridge.name,
                address=_LINK_LOCAL,
            )
    yield res.Gate(
        id=f"{uplink.name}/gate",
        needs=(netns,),
        origin=uplink.range,
        netns=netns,
        device=device,
        table=name_of(lab.name, uplink.name),
        mac=mac_of(lab.name, f"{uplink.name}/gate"),
        machine_mac=mac_of(lab.name, f"{uplink.name}/machine"),
        mtu=bridge.mtu,
        subnets=tuple(map(str, uplink.transit)),
        forwards=tuple(
            res.PortForward(protocol=p.protocol, port=p.port, address=str(subnet[1]), to_port=p.port)  # type: ignore[arg-type]
            for p in uplink.publish
            for subnet in uplink.transit
            if any((":" in address) == (subnet.version == 6) for address in p.addresses)
        ),
    )
    yield res.Nat(
        id=f"{uplink.name}/nat",
        needs=(netns,),
        within=(netns,),
        origin=uplink.range,
        netns=netns,
        masquerade=(device,),
        forwards=tuple(
            res.PortForward(protocol=p.protocol, port=p.port, address=address, to_port=p.to_port)  # type: ignore[arg-type]
            for p in uplink.publish
            for address in p.addresses
        ),
        hidden=tuple(_hidden(lab, uplink, switch)),
    )


def _hidden(lab: Lab, uplink: Uplink, switch: Bridge) -> Iterator[str]:
    """The published addresses of nodes whose default route is another: to strangers they would answer there."""
    own = {address.ip for address in switch.addresses}
    ways_out = {
        (host.name, route.destination.version)
        for host in lab.hosts
        for route in host.routes
        if route.destination.prefixlen == 0 and route.via in own
    }
    found = (
        address
        for p in uplink.publish
        for address in p.addresses
        if (p.node, 6 if ":" in address else 4) not in ways_out
    )
    yield from dict.fromkeys(found)


def shared_end(link: Link, uplink: Uplink, end: Interface, netns: str) -> res.Macvlan:
    """The end of a link to an uplink that shares the machine's interface."""
    return res.Macvlan(
        id=f"{link.left.full_name}--{link.right.full_name}/macvlan",
        needs=(netns,),
        within=(netns,),
        origin=link.range,
        netns=netns,
        name=end.name,
        interface=uplink.interface or "",
        mode="bridge",
        mac=end.mac,
        mtu=end.mtu,
        state="up" if end.up else "down",
    )
