"""Macvlans: interfaces of labs on real interfaces of the machine, which stay where they are."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Iterator, Sequence

from vtopo.backends import dump, messages, rare_messages
from vtopo.backends.base import Done, Outcome
from vtopo.backends.dump import Link
from vtopo.backends.gates import Machine, raise_if_refused
from vtopo.backends.links import is_ours
from vtopo.backends.outcomes import failed
from vtopo.backends.places import Places
from vtopo.compile.resources import Macvlan
from vtopo.compile.uplinks import gate_device


def create(places: Places, there: Machine, r: Macvlan) -> Outcome:
    """Make one, in place of what an earlier run may have left of it."""
    try:
        _make(places, there, r)
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def _make(places: Places, there: Machine, r: Macvlan) -> None:
    """It is born under a name that is free everywhere: old kernels look for that of an interface in two namespaces."""
    below = dump.links(there.socket).get(r.interface)
    if below is None:
        raise OSError(errno.ENODEV, f"this machine has no interface {r.interface}")
    born = gate_device(r.netns, r.name)
    links = places.links(r.netns)
    for name in (born, r.name):
        if name in links and not is_ours(links[name]):
            raise OSError(errno.EEXIST, f"{r.netns} has an interface {name} that is not vtopo's")
        if name in links:
            raise_if_refused(places.ask(r.netns, [(r, messages.delete_link(links[name].index))])[0])
    request = rare_messages.macvlan(
        born, below.index, places[r.netns].fd, r.mtu, passthru=r.mode == "passthru", mac=r.mac
    )
    places.tell_of(r, f"RTM_NEWLINK macvlan {r.name} in {r.netns} on the machine's {r.interface}, {r.mode}")
    answer = there.socket.request([request])[0]
    if answer.errno in (errno.EINVAL, errno.EBUSY) and r.mode == "passthru":
        raise OSError(
            answer.errno, f"{answer}: {r.interface} is in use by another macvlan, a bridge or a bond"
        )
    raise_if_refused(answer)
    index = places.links(r.netns)[born].index
    try:
        master = places.index(r.netns, r.master) if r.master else 0
        requests = [messages.rename(index, r.name)] if born != r.name else []
        if r.state == "up":
            requests.append(messages.up(index, master))
        elif master:
            requests.append(messages.set_link(index, master=master, is_up=False))
        for answer in places.ask(r.netns, [(r, each) for each in requests]):
            raise_if_refused(answer)
    except OSError:
        with contextlib.suppress(OSError):
            places.ask(r.netns, [(r, messages.delete_link(index))])
        raise
    places.links(r.netns)


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
