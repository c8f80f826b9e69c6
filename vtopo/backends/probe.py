"""Whether the machine passes on what a lab sends: a packet is counted before and after the firewall, and dropped.

No rule of anybody's is read for the verdict, and so none is misread: Docker's, firewalld's and an administrator's own
exceptions all count as they work. The packet goes through a table that ends with its socket, and never leaves.
"""

from __future__ import annotations

import errno
import socket as sockets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vtopo.backends import dump, nft
from vtopo.backends import nft_messages as m
from vtopo.backends.firewalls import advice
from vtopo.backends.machine_routes import routes, ways_out
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.backends.nft import Chain
from vtopo.backends.places import Places
from vtopo.compile.resources import Gate

if TYPE_CHECKING:
    from vtopo.backends.gates import Machine

_FAR_AWAY = {4: "203.0.113.1", 6: "2001:db8::1"}
"""Addresses that no machine has (RFC 5737, RFC 3849)."""
_PORT = 53
_FIRST, _LAST = -450, 350
"""Priorities of hooks before and after all that people use, but for connection tracking's beginning and end."""
_PATIENCE = 1.0


def must_pass(places: Places, there: Machine, r: Gate) -> None:
    """OSError if what comes from the lab is dropped on the machine; where there is no way out, nothing is tried."""
    found = routes(there.socket, dump.links(there.socket))
    there.enter()
    with nft.opened() as socket:
        for subnet in r.subnets:
            version = 6 if ":" in subnet else 4
            out = [device for device in ways_out(found, version) if device != r.device]
            if not out:
                continue
            places.tell_of(
                r, f"try whether a packet to {_FAR_AWAY[version]} is passed on to {', '.join(out)}"
            )
            came, went = _count(places, there, socket, r, version)
            if came and not went:
                raise OSError(errno.EPERM, advice(socket, r.device, version))


def _count(places: Places, there: Machine, socket: NetlinkSocket, r: Gate, version: int) -> tuple[bool, bool]:
    """Whether a packet came to the machine's forwarding, and whether it came out of it."""
    table = f"{r.table}.probe"
    mine = (*m.comes_in_by(r.device), *m.goes_to(_FAR_AWAY[version]), *m.goes_to_port("udp", _PORT))
    chains = (
        Chain("came", "filter", "forward", _FIRST, ((*mine, *m.count()),)),
        Chain("went", "filter", "postrouting", _LAST, ((*mine, *m.count(), *m.drop()),)),
    )
    answer = nft.put(socket, table, chains, owned=True)
    if answer.errno:
        raise OSError(answer.errno, str(answer))
    try:
        places.enter(r.netns)
        family = sockets.AF_INET if version == 4 else sockets.AF_INET6
        with sockets.socket(family, sockets.SOCK_DGRAM | sockets.SOCK_CLOEXEC) as sender:
            there.enter()
            end = time.monotonic() + _PATIENCE
            while True:
                sender.sendto(b"vtopo", (_FAR_AWAY[version], _PORT))
                time.sleep(0.01)
                counts = dict(_packets(socket, table))
                if counts.get("went") or (counts.get("came") and time.monotonic() > end - _PATIENCE * 0.8):
                    break
                if time.monotonic() > end:
                    break
        return bool(counts.get("came")), bool(counts.get("went"))
    finally:
        there.enter()
        nft.remove(socket, table)


def _packets(socket: NetlinkSocket, table: str) -> Iterator[tuple[str, int]]:
    for chain, rule in nft.rules(socket, table):
        for name, found in rule:
            if name == "counter":
                counter: Mapping[int, bytes] = dict(found)
                yield chain, int.from_bytes(counter.get(m.COUNTER_PACKETS, b""), "big")
