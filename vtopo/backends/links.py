"""Bridges, VTEPs and veth pairs: made, changed and deleted with rtnetlink."""

from __future__ import annotations

import contextlib
import errno
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from vtopo.backends import messages, rare_messages, switching, traffic
from vtopo.backends.base import Done, Failed, Outcome
from vtopo.backends.dump import Link, canonical_address
from vtopo.backends.netlink_socket import Answer, NetlinkSocket
from vtopo.backends.outcomes import failed, outcome
from vtopo.backends.places import Places, empty_namespace
from vtopo.backends.ports import lacking
from vtopo.backends.settings import announced
from vtopo.compile.resources import Bridge, MachineVxlan, Resource, Veth, VethEnd, Vxlan
from vtopo.compile.resources.devices import Own
from vtopo.values import dataclass

Made: TypeAlias = Bridge | Vxlan | Own

TAKEN = (errno.EEXIST, errno.EBUSY)  # a name or an index is in use
ENOUGH = 5.0  # seconds that the kernel may take to let go of a name
CHUNK = 32  # veth pairs per send


def is_ours(link: Link) -> bool:
    """Whether the interface carries vtopo's mark."""
    return link.group in (messages.GROUP, messages.GOING)


def is_pair(left: Link, right: Link) -> bool:
    """Whether two interfaces are the ends of one veth pair of vtopo's."""
    return (
        left.kind == right.kind == "veth"
        and left.link == right.index
        and right.link == left.index
        and is_ours(left)
        and is_ours(right)
    )


def create_veths(places: Places, batch: Sequence[Veth]) -> list[Outcome]:
    """Each pair by one request that names both namespaces, then one for each peer that brings it up."""
    outcomes: list[Outcome] = []
    taken: list[Veth] = []
    with empty_namespace() as socket:
        for i in range(0, len(batch), CHUNK):
            done, again = _create_veth_chunk(places, socket, batch[i : i + CHUNK])
            outcomes += done
            taken += again
        outcomes += [_settle_veth(places, socket, r) for r in taken]
    return outcomes


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a pair is made: which end comes first, and with which indexes."""

    veth: Veth
    near: VethEnd
    far: VethEnd
    near_index: int
    far_index: int
    far_master: int
    request: bytes


def _plan(places: Places, r: Veth) -> _Plan:
    near, far = (r.right, r.left) if r.right.master and not r.left.master else (r.left, r.right)
    masters = [places.index(end.netns, end.master) if end.master else 0 for end in (near, far)]
    here, there = places[near.netns], places[far.netns]
    a, b = here.take(), there.take()
    request = messages.veth(
        messages.Birth(here.fd, a, near.name, near.mac, near.mtu, masters[0], _is_born_up(near)),
        messages.Birth(there.fd, b, far.name, far.mac, far.mtu),
    )
    return _Plan(r, near, far, a, b, masters[1], request)


def _is_born_up(near: VethEnd) -> bool:
    """Not where it gets a qdisc: that costs a few ms on an interface that is up, and nothing on one that is not."""
    return near.state == "up" and near.impairment is None


def _completing(p: _Plan) -> Iterator[tuple[str, bytes]]:
    """What makes a pair whole, with the namespace of each: nobody is born up or a port by another end's request."""
    if p.near.impairment is not None:
        yield from ((p.near.netns, q) for q in traffic.qdiscs(p.near_index, p.near.impairment))
        if p.near.state == "up":
            yield p.near.netns, messages.up(p.near_index)
    if p.far.impairment is not None:
        yield from ((p.far.netns, q) for q in traffic.qdiscs(p.far_index, p.far.impairment))
    if p.far.state == "up":
        yield p.far.netns, messages.up(p.far_index, p.far_master)
    elif p.far_master:
        yield p.far.netns, messages.set_link(p.far_index, master=p.far_master, is_up=False)
    for end, index in ((p.near, p.near_index), (p.far, p.far_index)):
        yield from ((end.netns, q) for q in switching.port_changes(index, None, end.bridge_port, []))


def _create_veth_chunk(
    places: Places, socket: NetlinkSocket, batch: Sequence[Veth]
) -> tuple[list[Outcome], list[Veth]]:
    outcomes: list[Outcome] = []
    again: list[Veth] = []
    plans: list[_Plan] = []
    for r in batch:
        try:
            plans.append(_plan(places, r))
        except OSError as e:
            outcomes.append(failed(r, e))
    born: list[_Plan] = []
    answers = socket.request([p.request for p in plans])
    places.tell("", [(p.veth, p.request) for p in plans], answers)
    for p, answer in zip(plans, answers, strict=True):
        if answer.errno in TAKEN:
            again.append(p.veth)
        elif answer.errno:
            outcomes.append(failed(p.veth, answer))
        else:
            places[p.near.netns].indexes[p.near.name] = p.near_index
            places[p.far.netns].indexes[p.far.name] = p.far_index
            born.append(p)
    return outcomes + _complete(places, born), again


def _complete(places: Places, born: Sequence[_Plan]) -> list[Outcome]:
    requests: dict[str, list[tuple[Resource, bytes]]] = defaultdict(list)
    for p in born:
        for netns, request in _completing(p):
            requests[netns].append((p.veth, request))
    refused: dict[str, Answer] = {}
    for netns, there in requests.items():
        for (r, _), answer in zip(there, places.ask(netns, there), strict=True):
            if answer.errno:
                refused.setdefault(r.id, answer)
    for p in born:
        if p.veth.id in refused:  # leave nothing half made
            places.ask(p.near.netns, [(p.veth, messages.delete_link(p.near_index))])
    return [outcome(p.veth, refused.get(p.veth.id, Answer(0))) for p in born]


def _settle_veth(places: Places, socket: NetlinkSocket, r: Veth) -> Outcome:
    """Make a pair whose names or indexes are taken: by itself, by its remains, by what the kernel is still removing."""
    end = time.monotonic() + ENOUGH
    while True:
        try:
            left = places.links(r.left.netns).get(r.left.name)
            right = places.links(r.right.netns).get(r.right.name)
            if left and right and is_pair(left, right):
                return _adopt_veth(places, r, left, right)
            for e, link in ((r.left, left), (r.right, right)):
                if link and not is_ours(link):
                    return _foreign(r, e.netns, e.name)
                if link:
                    places.ask(e.netns, [(r, messages.delete_link(link.index))])
        except OSError as error:
            return failed(r, error)
        done, _ = _create_veth_chunk(places, socket, [r])
        if done:
            return done[0]
        if time.monotonic() > end:
            return failed(r, Answer(errno.EEXIST, "the kernel does not let go of its name"))
        time.sleep(0.02)


def _adopt_veth(places: Places, r: Veth, left: Link, right: Link) -> Outcome:
    for end, link in ((r.left, left), (r.right, right)):
        master = places.index(end.netns, end.master) if end.master else 0
        is_up = end.state == "up"
        request = messages.set_link(link.index, end.mtu, end.mac, messages.GROUP, master, is_up=is_up)
        requests = [request]
        if end.impairment is not None or link.qdisc in traffic.KINDS:
            requests += traffic.qdiscs(link.index, end.impairment)
        answers = places.ask(end.netns, [(r, each) for each in requests])
        if end.master is not None:
            answers += places.ask(end.netns, [(r, each) for each in lacking(places, end)])
        if bad := next((answer for answer in answers if answer.errno), None):
            return failed(r, bad)
    return Done(r.id)


def _foreign(r: Resource, netns: str, name: str) -> Failed:
    return failed(r, Answer(errno.EEXIST, f"{netns} has an interface {name} that is not vtopo's"))


def create_bridges(places: Places, batch: Sequence[Bridge]) -> list[Outcome]:
    """Bridges, up, with an MTU that stays as it is whatever the ports have."""
    return [create_one(places, r, partial(_bridge, r), _same_bridge) for r in batch]


def create_vxlans(places: Places, batch: Sequence[Vxlan]) -> list[Outcome]:
    """VTEPs, each up and a port of its bridge."""
    return [create_one(places, r, partial(_vxlan, places, r), _same_vxlan) for r in batch]


def _bridge(r: Bridge, index: int) -> list[bytes]:
    own = switching.vlan_changes(index, [], r.vlan, r.trunk, own=True)
    return [switching.born(r, index), messages.set_link(index, mtu=r.mtu), *own]


def _vxlan(places: Places, r: Vxlan, index: int) -> list[bytes]:
    request = rare_messages.vxlan(
        *(index, r.name, r.mac, r.mtu, _tunnel(places, r)),
        vni=r.vni,
        port=r.port,
        master=places.index(r.netns, r.master),
    )
    told = [] if r.learning else [rare_messages.port_of_vxlan(index, False)]
    return [request, *told, *switching.port_changes(index, None, r.bridge_port, [])]


def _tunnel(places: Places, r: Vxlan) -> rare_messages.Tunnel:
    # A tunnel of the machine's stays at the interface that it was born at.
    device = places.index(r.netns, r.device) if r.device and not isinstance(r, MachineVxlan) else 0
    return rare_messages.Tunnel(r.local, device, r.group, r.learning, r.ttl, r.tos)


def _same_bridge(places: Places, r: Bridge | Vxlan, link: Link) -> bool:
    return link.kind == "bridge"


def _same_vxlan(places: Places, r: Bridge | Vxlan, link: Link) -> bool:
    v = link.vxlan
    return (
        isinstance(r, Vxlan)
        and v is not None
        and (v.vni, v.port, v.local) == (r.vni, r.port, canonical_address(r.local))
        and v.group == (canonical_address(r.group) if r.group else "")
        and v.device == (places.index(r.netns, r.device) if r.device else 0)
    )


def create_one(
    places: Places,
    r: Made,
    requests: Callable[[int], list[bytes]],
    is_same: Callable[[Places, Any, Link], bool],
) -> Outcome:
    """Make one; what a killed run left of it is completed, or removed and made again."""
    try:
        answer = _try(places, r, requests)
        if answer.errno not in TAKEN:
            return outcome(r, answer)
        there = places.links(r.netns).get(r.name)
        if there and not is_ours(there):
            return _foreign(r, r.netns, r.name)
        if there and isinstance(r, Bridge | Vxlan) and is_same(places, r, there):
            master = places.index(r.netns, r.master) if isinstance(r, Vxlan) else -1
            more = [messages.set_link(there.index, r.mtu, r.mac, messages.GROUP, master)]
            if isinstance(r, Vxlan):
                more.append(rare_messages.change_vxlan(there.index, _tunnel(places, r)))
                more.append(rare_messages.port_of_vxlan(there.index, r.learning))
            answers = places.ask(r.netns, [(r, request) for request in more])
            answers += places.ask(r.netns, [(r, each) for each in lacking(places, r)])
            return outcome(r, next((a for a in answers if a.errno), Answer(0)))
        if there:
            places.ask(r.netns, [(r, messages.delete_link(there.index))])
        return outcome(r, _try(places, r, requests))
    except OSError as e:
        return failed(r, e)


def _try(places: Places, r: Made, requests: Callable[[int], list[bytes]]) -> Answer:
    """Each request once the one before has succeeded: the index may be another's, who is to stay as he is."""
    place = places[r.netns]
    index = place.take()
    first, *others = [(r, request) for request in requests(index)]
    answer = places.ask(r.netns, [first])[0]
    if answer.errno:
        return answer
    place.indexes[r.name] = index
    bad = next((a for a in places.ask(r.netns, others) if a.errno), None)
    if bad is not None:
        places.ask(r.netns, [(r, messages.delete_link(index))])
        place.indexes.pop(r.name)
        return bad
    return answer


def update(places: Places, old: Resource, new: Resource) -> Outcome:
    """Change MTUs, MACs, masters, states, impairments and how is switched in place, and where a tunnel begins."""
    try:
        if isinstance(old, Veth) and isinstance(new, Veth):
            for was, end in ((old.left, new.left), (old.right, new.right)):
                if was != end:
                    _set(places, new, was, end)
        elif isinstance(old, Bridge) and isinstance(new, Bridge):
            _set(places, new, old, new)
        elif isinstance(old, Vxlan) and isinstance(new, Vxlan):
            link = ours(places, new.netns, new.name)
            if _sends_as(old) != _sends_as(new):
                request = rare_messages.change_vxlan(link.index, _tunnel(places, new))
                must(places.ask(new.netns, [(new, request)])[0])
            _set(places, new, old, new)
            if (old.learning, old.master) != (new.learning, new.master):
                request = rare_messages.port_of_vxlan(link.index, new.learning)
                must(places.ask(new.netns, [(new, request)])[0])
        else:
            return failed(new, Answer(errno.EOPNOTSUPP))
    except Refused as e:
        return failed(new, e.answer)
    except OSError as e:
        return failed(new, e)
    return Done(new.id)


def _sends_as(r: Vxlan) -> tuple[object, ...]:
    return r.local, r.device, r.learning, r.ttl, r.tos


class Refused(Exception):
    """The kernel refused a request."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer))
        self.answer = answer


def must(answer: Answer) -> None:
    """Refused if the answer is a refusal."""
    if answer.errno:
        raise Refused(answer)


def ours(places: Places, netns: str, name: str) -> Link:
    """An interface of vtopo's in a namespace; Refused if there is none."""
    link = places.links(netns).get(name)
    if link is None or not is_ours(link):
        raise Refused(Answer(errno.ENODEV, f"{netns} has no interface {name} of vtopo's"))
    return link


def _set(places: Places, r: Resource, was: VethEnd | Bridge | Vxlan, end: VethEnd | Bridge | Vxlan) -> None:
    """Change what differs of an interface; neighbours are told of a new MAC, or they would go on using the old one."""
    link = ours(places, end.netns, end.name)
    master = -1
    if not isinstance(was, Bridge) and not isinstance(end, Bridge) and was.master != end.master:
        master = places.index(end.netns, end.master) if end.master else 0
    request = messages.set_link(
        link.index,
        mtu=end.mtu if end.mtu != was.mtu else 0,
        mac=end.mac if end.mac != was.mac else "",
        master=master,
        is_up=not isinstance(end, VethEnd) or end.state == "up",
    )
    with announced(places, end.netns, end.name) if end.mac != was.mac else contextlib.nullcontext():
        must(places.ask(end.netns, [(r, request)])[0])
    if isinstance(end, Bridge) or master > 0 or was.bridge_port != end.bridge_port:  # type: ignore[union-attr]
        for answer in places.ask(end.netns, [(r, each) for each in lacking(places, end)]):
            must(answer)
    if isinstance(was, VethEnd) and isinstance(end, VethEnd) and was.impairment != end.impairment:
        requests = traffic.changes(link.index, was.impairment, end.impairment)
        for answer in places.ask(end.netns, [(r, each) for each in requests]):
            must(answer)


def delete(places: Places, batch: Sequence[Veth | Made]) -> list[Outcome]:
    """Delete interfaces, those of one namespace by one request for a group: each request costs 16 ms and more."""
    by_netns: dict[str, list[tuple[Resource, str]]] = defaultdict(list)
    for r in batch:
        end = (r.right if r.right.master and not r.left.master else r.left) if isinstance(r, Veth) else r
        by_netns[end.netns].append((r, end.name))
    return [o for netns, there in by_netns.items() for o in _delete_in(places, netns, there)]


def _delete_in(places: Places, netns: str, batch: Sequence[tuple[Resource, str]]) -> list[Outcome]:
    try:
        places[netns]
    except OSError:  # gone with its namespace
        return [Done(r.id) for r, _ in batch]
    try:
        links = places.links(netns)
    except OSError as e:
        return [failed(r, e) for r, _ in batch]
    ours = [(r, links[name].index) for r, name in batch if name in links and is_ours(links[name])]
    outcomes: list[Outcome] = [
        Done(r.id) for r, name in batch if name not in links or not is_ours(links[name])
    ]
    if not ours:
        return outcomes
    first, index = ours[0]
    if len(ours) == 1:
        return [*outcomes, _gone(first, places.ask(netns, [(first, messages.delete_link(index))])[0])]
    marked = _put(places, netns, ours, messages.GOING)
    gone = places.ask(netns, [(first, messages.delete_group(messages.GOING))])[0]
    if gone.errno not in (0, errno.ENODEV):  # they stay, and bear their mark again
        _put(places, netns, ours, messages.GROUP)
    for (r, _), answer in zip(ours, marked, strict=True):
        outcomes.append(_gone(r, answer if answer.errno else gone))
    return outcomes


def _put(places: Places, netns: str, links: Sequence[tuple[Resource, int]], group: int) -> list[Answer]:
    return places.ask(netns, [(r, messages.set_group(index, group)) for r, index in links])


def _gone(r: Resource, answer: Answer) -> Outcome:
    """What came of a deletion: an interface that went by itself meanwhile is gone as well."""
    return Done(r.id) if answer.errno == errno.ENODEV else outcome(r, answer)
