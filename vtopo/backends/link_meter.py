"""What has passed the interfaces of a lab, by one netlink dump of each of its network namespaces."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from vtopo.backends import messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.base import Handle
from vtopo.backends.places import Places
from vtopo.backends.threads import apart
from vtopo.backends.usage import Counters, InterfaceUsage, Usage
from vtopo.compile.resources import Bridge, Resource, Veth, Vxlan

_IFLA_STATS64 = 23
_STATS = struct.Struct("=8Q")  # the first eight of struct rtnl_link_stats64 (linux/if_link.h)
_WANTED = frozenset((m.IFLA_IFNAME, _IFLA_STATS64))


class LinkMeter:
    """Ends of links, bridges and tunnel ends of one lab."""

    def __init__(self, lab: str) -> None:
        self._lab = lab

    def usage(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Usage:
        """All that are there, in the order of the records."""
        return apart(lambda: self._usage(recorded, handles))

    def _usage(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Usage:
        devices = [device for r in recorded for device in _devices(r)]
        places = Places(self._lab)
        places.renew(handles)
        counted: dict[tuple[str, str], Counters] = {}
        try:
            for netns in dict.fromkeys(netns for _, netns, _ in devices):
                try:
                    request = m.message(m.RTM_GETLINK, m.NLM_F_REQUEST | m.NLM_F_DUMP, m.ifinfo(0))
                    for part in places.socket(netns).dump(request):
                        name, counters = _counters(*part)
                        counted[netns, name] = counters
                except OSError:  # its host is gone
                    continue
        finally:
            places.close()
        return Usage(
            interfaces=tuple(
                InterfaceUsage(full_name, device, counted[netns, device])
                for full_name, netns, device in devices
                if (netns, device) in counted
            )
        )


def _devices(r: Resource) -> Iterator[tuple[str, str, str]]:
    """The interfaces of a resource: full name in the lab, namespace, name in the kernel."""
    match r:
        case Veth():
            for name, end in r.interfaces:
                yield name, end.netns, end.name
        case Bridge() | Vxlan():
            yield r.id.rpartition("/")[0], r.netns, r.name


def _counters(data: bytes, at: int, end: int) -> tuple[str, Counters]:
    found = attributes(data, at + 16, end, _WANTED)
    numbers = _STATS.unpack_from(found[_IFLA_STATS64])
    return found[m.IFLA_IFNAME].rstrip(b"\0").decode(), Counters(*numbers)
