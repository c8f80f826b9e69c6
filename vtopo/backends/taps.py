"""A VM's taps: fetched from where its start made them, and joined with the plugs of its links."""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Sequence

from vtopo.backends import dump, messages, tc_messages
from vtopo.backends.attributes import attributes
from vtopo.backends.base import Done, Outcome
from vtopo.backends.dump import Link
from vtopo.backends.netlink_socket import Answer, NetlinkSocket
from vtopo.backends.outcomes import failed, outcome
from vtopo.backends.places import Places
from vtopo.compile.resources import Tap

_ABSENT = (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV)
"""What the kernel says of an ingress qdisc to remove where there is none."""


def create(places: Places, batch: Sequence[Tap]) -> list[Outcome]:
    """Move each tap into its namespace, and join it with its plug there."""
    machine = NetlinkSocket()  # before the thread enters any other namespace
    try:
        made = dump.links(machine)
        return [_create(places, machine, made.get(r.name), r) for r in batch]
    finally:
        machine.close()


def _create(places: Places, machine: NetlinkSocket, made: Link | None, r: Tap) -> Outcome:
    try:
        if made is not None and made.kind == "tun":
            answer = machine.request([messages.move_link(made.index, places[r.netns].fd)])[0]
            if answer.errno:
                return failed(r, answer)
        links = places.links(r.netns)
        tap, plug = links.get(r.name), links.get(r.plug)
        if tap is None or tap.kind != "tun":
            return failed(r, Answer(errno.ENODEV, f"the VM's start made no tap {r.name}"))
        if plug is None:
            return failed(r, Answer(errno.ENODEV, f"{r.netns} has no interface {r.plug}"))
        return outcome(r, _join(places.socket(r.netns), tap, plug, r.mtu))
    except OSError as e:
        return failed(r, e)


def joined_again(tap: str, plug: str, mtu: int) -> str | None:
    """Join a tap with a plug in the calling thread's namespace, if both are there; the reason if that fails."""
    with contextlib.closing(NetlinkSocket()) as socket:
        links = dump.links(socket)
        if tap not in links or plug not in links:
            return None
        answer = _join(socket, links[tap], links[plug], mtu)
        return str(answer) if answer.errno else None


def _join(socket: NetlinkSocket, tap: Link, plug: Link, mtu: int) -> Answer:
    for link in (plug, tap):
        answer = socket.request([tc_messages.no_ingress(link.index)])[0]
        if answer.errno and answer.errno not in _ABSENT:
            return answer
    answers = socket.request(
        [
            messages.set_link(tap.index, mtu=mtu, group=messages.GROUP),
            tc_messages.ingress(plug.index),
            tc_messages.ingress(tap.index),
            tc_messages.redirect(plug.index, tap.index),
            tc_messages.redirect(tap.index, plug.index),
        ]
    )
    return next((answer for answer in answers if answer.errno), answers[-1])


def update(places: Places, r: Tap) -> Outcome:
    """Change the tap's MTU."""
    try:
        tap = places.links(r.netns).get(r.name)
        if tap is None:
            return failed(r, Answer(errno.ENODEV, f"{r.netns} has no tap {r.name}"))
        request = messages.set_link(tap.index, mtu=r.mtu)
        return outcome(r, places.socket(r.netns).request([request])[0])
    except OSError as e:
        return failed(r, e)


def delete(places: Places, batch: Sequence[Tap]) -> list[Outcome]:
    """Part taps from their plugs; the taps themselves are their QEMU's, and end with it."""
    outcomes: list[Outcome] = []
    for r in batch:
        try:
            links = places.links(r.netns)
        except OSError:  # gone with its namespace
            outcomes.append(Done(r.id))
            continue
        there = [links[name].index for name in (r.plug, r.name) if name in links]
        answers = places.socket(r.netns).request([tc_messages.no_ingress(index) for index in there])
        bad = [a for a in answers if a.errno and a.errno not in _ABSENT]
        outcomes.append(outcome(r, bad[0] if bad else Answer(0)))
    return outcomes


def is_joined(socket: NetlinkSocket, tap: Link, plug: Link) -> bool:
    """Whether each sends what the other receives."""
    return _target(socket, tap.index) == plug.index and _target(socket, plug.index) == tap.index


def _target(socket: NetlinkSocket, index: int) -> int | None:
    """The interface that sends all that this one receives; None without such a filter."""
    for data, at, end in socket.dump(tc_messages.filters(index)):
        options = attributes(data, at + 20, end).get(tc_messages.TCA_OPTIONS, b"")
        actions = attributes(options, 0, len(options)).get(tc_messages.TCA_U32_ACT, b"")
        for action in attributes(actions, 0, len(actions)).values():
            parts = attributes(action, 0, len(action))
            inner = parts.get(tc_messages.TCA_ACT_OPTIONS, b"")
            mirred = attributes(inner, 0, len(inner)).get(tc_messages.TCA_MIRRED_PARMS, b"")
            if parts.get(tc_messages.TCA_ACT_KIND) == b"mirred\0" and len(mirred) >= 28:
                return int(struct.unpack_from("=I", mirred, 24)[0])
    return None
