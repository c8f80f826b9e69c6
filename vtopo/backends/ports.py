"""A bridge, or a bridge's port, that is there: as it is found, and what is lacking until it is as it is wanted."""

from __future__ import annotations

from dataclasses import replace

from vtopo.backends import dump, switching
from vtopo.backends.dump import Contents, Link
from vtopo.backends.places import Places
from vtopo.compile.resources import Bridge, BridgePort, VethEnd, Vxlan


def found_bridge(wanted: Bridge, link: Link, here: Contents) -> Bridge:
    """How a bridge switches now, and all else as it is wanted."""
    return switching.as_bridge(wanted, link, here.vlans.get(link.index, ()))


def found_port(wanted: BridgePort | None, link: Link, here: Contents) -> BridgePort | None:
    """What an interface is told as a bridge's port; VLANs count where the bridge tells them apart."""
    master = here.by_index.get(link.master)
    if master is None or master.kind != "bridge":
        return None
    vlans = here.vlans.get(link.index, ()) if switching.is_aware(master.data) else ()
    if link.kind == "vxlan":  # whether it learns is the tunnel's own to say
        return switching.as_port(wanted, replace(link, slave=b""), vlans)
    return switching.as_port(wanted, link, vlans)


def lacking(places: Places, wanted: Bridge | VethEnd | Vxlan) -> list[bytes]:
    """The requests that make a bridge or a port switch as it is wanted, by what the kernel says of it now."""
    here = dump.read(places.socket(wanted.netns))
    link = here.links.get(wanted.name)
    if link is None:
        return []
    vlans = list(here.vlans.get(link.index, ()))
    if isinstance(wanted, Bridge):
        return list(switching.bridge_changes(link.index, found_bridge(wanted, link, here), wanted, vlans))
    if link.master == 0:
        return []
    port = found_port(wanted.bridge_port, link, here)
    return list(switching.port_changes(link.index, port, wanted.bridge_port, vlans))
