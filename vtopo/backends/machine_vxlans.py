"""Tunnel ends at the machine's own interface: their sockets are in its namespace, and they themselves in the lab's."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from vtopo.backends import dump, machine_ports, messages, rare_messages, switching
from vtopo.backends.gates import Machine
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.observe import found_vxlan
from vtopo.backends.outside_links import bear
from vtopo.backends.places import Places
from vtopo.compile.resources import MachineVxlan


def make(places: Places, there: Machine, r: MachineVxlan) -> None:
    """Make one, in place of what an earlier run may have left of it; an OSError if that fails."""
    below = dump.links(there.socket).get(r.device)
    if below is None:
        raise OSError(errno.ENODEV, f"this machine has no interface {r.device}")
    tunnel = rare_messages.Tunnel(r.local, below.index, r.group, r.learning, r.ttl, r.tos)
    master = places.index(r.netns, r.master)

    def request(born: str) -> bytes:
        netns = places[r.netns].fd
        return rare_messages.machine_vxlan(born, r.mac, r.mtu, tunnel, vni=r.vni, port=r.port, netns=netns)

    def complete(index: int) -> list[bytes]:
        told = [] if r.learning else [rare_messages.port_of_vxlan(index, False)]
        return [messages.up(index, master), *told, *switching.port_changes(index, None, r.bridge_port, [])]

    def explain(answer: Answer) -> str:
        if answer.errno == errno.EEXIST:
            return (
                f"this machine has a tunnel of VNI {r.vni} on UDP port {r.port} already, in another lab or namespace: "
                "give the overlay another `vni`, on all machines"
            )
        if answer.errno == errno.EADDRINUSE:
            holder = machine_ports.holder("udp", r.port) or "something else"
            return f"the machine's UDP port {r.port} is in use: {holder}"
        return str(answer)

    places.tell_of(r, f"RTM_NEWLINK vxlan {r.name} in {r.netns} by the machine's {r.device}, VNI {r.vni}")
    bear(places, there, r, request, complete, explain, taken={errno.EEXIST})


def observe(places: Places, there: Machine, batch: Sequence[MachineVxlan]) -> Iterator[MachineVxlan]:
    """Those that are there."""
    outside = {link.index: name for name, link in dump.links(there.socket).items()} if batch else {}
    for r in batch:
        try:
            here = dump.read(places.socket(r.netns))
        except OSError:  # gone with its namespace
            continue
        if (found := found_vxlan(r, here, outside.get)) is not None:
            yield found
