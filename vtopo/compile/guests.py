"""When a guest counts as ready, as resources: what is asked, where, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal

from vtopo.compile import resources as res
from vtopo.compile.domain_names import console_log, domain_name
from vtopo.compile.life import power_id, ready_id
from vtopo.compile.resources.domains import Door
from vtopo.compile.vms import Plug, domain_id, tap_id, tap_name
from vtopo.model.lab import Lab, Life, Ready

_LOOKED_AT = 1024
"""Addresses of a subnet, from its end, that are looked at for one that nobody has."""


def guest_ready(lab: Lab, life: Life, plugs: Sequence[Plug]) -> Iterator[res.GuestReady]:
    """One for each condition, in the order of the text."""
    doors = tuple(_doors(lab, plugs)) if any(ready.port for ready in life.ready) else ()
    domain = domain_id(life.node)
    for at, ready in enumerate(life.ready):
        yield res.GuestReady(
            id=ready_id(life.node, at),
            needs=(domain, power_id(life.node), *(tap_id(plug) for plug in plugs if ready.port)),
            within=(domain,),
            origin=ready.range,
            node=life.node,
            name=domain_name(lab.name, life.node),
            condition=_condition(ready),
            milliseconds=-(-ready.within // 1000),
            console=console_log(life.node),
            port=ready.port,
            doors=doors if ready.port is not None else (),
            text=ready.text,
            command=ready.command,
            env=tuple(f"{key}={value}" for key, value in life.env) if ready.command else (),
        )


def _condition(ready: Ready) -> Literal["tcp", "log", "agent", "command"]:
    if ready.port is not None:
        return "tcp"
    if ready.text is not None:
        return "log"
    return "command" if ready.command else "agent"


def _doors(lab: Lab, plugs: Sequence[Plug]) -> Iterator[Door]:
    taken = {a.ip for link in lab.links for end in (link.left, link.right) for a in end.addresses}
    taken |= {a.ip for bridge in lab.bridges for a in bridge.addresses}
    for plug in plugs:
        for address in plug.end.addresses:
            yield Door(
                netns=plug.netns,
                tap=tap_name(lab.name, plug.end.full_name),
                mac=plug.end.mac,
                address=str(address.ip),
                source=_source(address, taken),
            )


def _source(address: IPv4Interface | IPv6Interface, taken: Collection[object]) -> str:
    """An address of the same subnet: the last that nobody has, or, of a full one, a neighbour's."""
    network = address.network
    # The very first and last of an IPv4 subnet are no host's, but for a link's /31 (RFC 3021).
    edge = 1 if network.version == 4 and network.prefixlen < 31 else 0
    count = min(network.num_addresses - 2 * edge, _LOOKED_AT)
    last = [network[-1 - edge - at] for at in range(count)]
    free = (each for each in last if each not in taken)
    others = (each for each in last if each != address.ip)
    return str(next(free, None) or next(others, address.ip))
