"""Macvlans: interfaces of labs on real interfaces of the machine, which stay where they are."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator, Sequence

from vtopo.backends import dump, messages, rare_messages
from vtopo.backends.base import Done, Outcome
from vtopo.backends.dump import Link
from vtopo.backends.gates import Machine, raise_if_refused
from vtopo.backends.links import is_ours
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.outcomes import failed
from vtopo.backends.outside_links import bear
from vtopo.backends.places import Places
from vtopo.compile.resources import Macvlan


def make(places: Places, there: Machine, r: Macvlan) -> None:
    """Make one, in place of what an earlier run may have left of it; an OSError if that fails."""
    below = dump.links(there.socket).get(r.interface)
    if below is None:
        raise OSError(errno.ENODEV, f"this machine has no interface {r.interface}")
    master = places.index(r.netns, r.master) if r.master else 0

    # Who has it whole lets no other one on it.
    taken = {errno.EINVAL, errno.EBUSY} if r.mode == "passthru" else set()

    def request(born: str) -> bytes:
        netns, passthru = places[r.netns].fd, r.mode == "passthru"
        return rare_messages.macvlan(born, below.index, netns, r.mtu, passthru=passthru, mac=r.mac)

    def complete(index: int) -> list[bytes]:
        if r.state == "up":
            return [messages.up(index, master)]
        return [messages.set_link(index, master=master, is_up=False)] if master else []

    def explain(answer: Answer) -> str:
        if answer.errno in taken:
            return f"{answer}: {r.interface} is in use by another macvlan, a bridge or a bond"
        return str(answer)

    places.tell_of(r, f"RTM_NEWLINK macvlan {r.name} in {r.netns} on the machine's {r.interface}, {r.mode}")
    bear(places, there, r, request, complete, explain, taken)


def update(places: Places, r: Macvlan) -> Outcome:
    """Change its MTU, and bring it up or down."""
    try:
        index = places.index(r.netns, r.name)
        request = messages.set_link(index, mtu=r.mtu, is_up=r.state == "up")
        raise_if_refused(places.ask(r.netns, [(r, request)])[0])
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def delete(places: Places, r: Macvlan) -> Outcome:
    """Take it away; the machine's interface is then as it was."""
    try:
        link = places.links(r.netns).get(r.name)
    except OSError:  # gone with its namespace
        return Done(r.id)
    if link is None or not is_ours(link):
        return Done(r.id)
    answer = places.ask(r.netns, [(r, messages.delete_link(link.index))])[0]
    return failed(r, answer) if answer.errno not in (0, errno.ENODEV) else Done(r.id)


def observe(places: Places, there: Machine, batch: Sequence[Macvlan]) -> Iterator[Macvlan]:
    """Those that are there, on the interface that they are to be on."""
    outside = dump.links(there.socket) if batch else {}
    for r in batch:
        try:
            inside = places.links(r.netns)
        except OSError:  # gone with its namespace
            continue
        if (found := _found(r, outside, inside)) is not None:
            yield found


def _found(r: Macvlan, outside: dict[str, Link], inside: dict[str, Link]) -> Macvlan | None:
    link, below = inside.get(r.name), outside.get(r.interface)
    if (
        link is None
        or below is None
        or link.kind != "macvlan"
        or not is_ours(link)
        or link.link != below.index
    ):
        return None
    master = next((name for name, other in inside.items() if other.index == link.master), None)
    if master != r.master or (r.mac and link.mac != r.mac.lower()):
        return None
    return dataclasses.replace(r, mtu=link.mtu, state="up" if link.is_up else "down")
