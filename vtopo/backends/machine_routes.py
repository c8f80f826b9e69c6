"""Where the machine itself sends packets: its routes, and the interfaces that its ways out lead by."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vtopo.backends import messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.dump import Link
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.model.lab import IPNetwork

_RTA_OIF, _RTA_MULTIPATH = 4, 9
_RTN_UNICAST, _RTN_LOCAL = 1, 2
RTPROT_RA = 9


@dataclass(frozen=True, slots=True)
class MachineRoute:
    """A route, or (`is_own`) an address of the machine's; `devices` are the interfaces that it leads by."""

    to: IPNetwork
    devices: tuple[str, ...]
    protocol: int
    is_own: bool

    @property
    def is_default(self) -> bool:
        """Whether it is a way out."""
        return self.to.prefixlen == 0

    def __str__(self) -> str:
        return f"{self.to} ({', '.join(self.devices)})" if self.devices else str(self.to)


def routes(socket: NetlinkSocket, links: dict[str, Link]) -> list[MachineRoute]:
    """All routes of all tables, of both families."""
    names = {link.index: link.name for link in links.values()}
    return list(_routes(socket, names))


def _routes(socket: NetlinkSocket, names: dict[int, str]) -> Iterator[MachineRoute]:
    for data, at, end in socket.dump(m.dump_request(m.RTM_GETROUTE)):
        family, length, _, _, _, protocol, _, kind = struct.unpack_from("=8B", data, at)
        if family not in (m.AF_INET, m.AF_INET6) or kind not in (_RTN_UNICAST, _RTN_LOCAL):
            continue
        a = attributes(data, at + 12, end)
        raw = a.get(m.RTA_DST, bytes(4 if family == m.AF_INET else 16))
        to = ipaddress.ip_network((raw, length))
        indexes = [struct.unpack("=i", a[_RTA_OIF])[0]] if _RTA_OIF in a else []
        indexes += _next_hops(a.get(_RTA_MULTIPATH, b""))
        devices = tuple(names.get(index, f"index {index}") for index in indexes)
        yield MachineRoute(to, devices, protocol, kind == _RTN_LOCAL)


def _next_hops(raw: bytes) -> Iterator[int]:
    at = 0
    while at + 8 <= len(raw):
        size, _, _, index = struct.unpack_from("=HBBi", raw, at)
        yield index
        at += max((size + 3) & ~3, 8)


def ways_out(found: list[MachineRoute], version: int) -> list[str]:
    """The interfaces that the default routes of a family lead by."""
    return list(
        dict.fromkeys(d for r in found if r.is_default and r.to.version == version for d in r.devices)
    )
