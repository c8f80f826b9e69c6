"""What the processes of an early look do: see what of a lab is not as it is recorded, with as little effort as will do.

Of namespaces that are as they were when nothing in them differed (vtopo.backends.looks) nothing is taken apart, not
even the records. What else there is of a large lab is looked at by two processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar, cast

from vtopo.backends import messages as m
from vtopo.backends.base import Backend, Handle, Present
from vtopo.backends.looks import Dumped, Look, altered, covered, is_clear, told_of
from vtopo.backends.netlink import NetlinkBackend
from vtopo.backends.observe import TOLD_BY_DUMPS, GoneBy
from vtopo.compile.resources import Address, Nat, Resource, Sysctl, Veth
from vtopo.installed import this_one
from vtopo.run.backends import Backends
from vtopo.state.folder import StateDir
from vtopo.state.store import Records, Store

T = TypeVar("T")

_NONE = Handle()


class Seen(NamedTuple):
    """What is missing of the resources that were looked for, what is not as it is recorded, and the dumps gone by."""

    missing: set[str]
    different: dict[str, Present]
    gone_by: GoneBy

    def with_(self, other: Seen) -> Seen:
        """What two looks have seen of different resources."""
        gone_by = defaultdict(set, {place: set(dumps) for place, dumps in self.gone_by.items()})
        for place, dumps in other.gone_by.items():
            gone_by[place] |= dumps
        return Seen(self.missing | other.missing, self.different | other.different, gone_by)


class Told(NamedTuple):
    """What was seen of all that is recorded.

    `stamp` is that of the records, and empty while something is recorded as unfinished; `program` is the vtopo that
    looked. The namespaces that are `altered` no longer look as they did, of the `fresh` ones it is known now how they
    look when nothing differs. `had_looks` is whether there was anything to go by.
    """

    missing: set[str]
    different: dict[str, Present]
    stamp: str
    program: str
    altered: set[str]
    fresh: Mapping[str, Look]
    had_looks: bool


def look(state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]], outer: int) -> Told:
    """See what differs from the records; `outer` is the pipe by which the calling process, a fork, will tell it."""
    program = this_one()
    with Store.open(state, lab) as store:
        looks = store.looks(program)
        known_as = covered(looks)
        records = store.load(without=known_as)
        stamp = "" if records.unfinished else store.stamp()
    others = _Beside(partial(altered, looks, records.handles), outer) if looks else None
    known = Backends(backends())
    seen = _seen_by_two(known, records, outer)
    changed = others.result() if others is not None else set()
    resources = dict(records.resources)
    if changed:
        with Store.open(state, lab) as store:
            more = store.load(only=known_as & told_of(looks, changed))
        seen = seen.with_(_seen_by_two(known, more, outer))
        resources.update(more.resources)
    same = {place: each for place, each in looks.items() if place not in changed}
    seen = seen.with_(Seen(set(), {}, {place: set(each.dumps) for place, each in same.items()}))
    fresh = _fresh(resources, records, seen, same)
    return Told(seen.missing, seen.different, stamp, program, changed, fresh, had_looks=bool(looks))


def places_of(r: Resource) -> tuple[str, ...]:
    """The namespaces, by the ids of what has them, that a resource is in: of a veth pair one for each end."""
    if isinstance(r, Veth):
        return r.left.netns, r.right.netns
    netns = getattr(r, "netns", None)
    return (netns,) if netns is not None else ()


def _seen(known: Backends, records: Records) -> Seen:
    gone_by: GoneBy = {}
    for backend in _netlink(known):
        backend.gone_by = gone_by
    present = known.observe(records)
    missing = records.resources.keys() - present.keys() - records.unfinished
    different = {
        id_: seen
        for id_, seen in present.items()
        if (seen.found is not (recorded := records.resources[id_]) and seen.found != recorded)
        or seen.handle != records.handles.get(id_, _NONE)
    }
    return Seen(missing, different, gone_by)


def _netlink(known: Backends) -> Sequence[NetlinkBackend]:
    return [backend for backend in known.all if isinstance(backend, NetlinkBackend)]


def _fresh(
    resources: Mapping[str, Resource], records: Records, seen: Seen, known: Mapping[str, Look]
) -> Mapping[str, Look]:
    """The looks of nodes' namespaces in which nothing differs, and that are not `known` yet.

    Left out is what has a link to a namespace without a look, as a bridge's is: it is taken apart for that link anyway.
    """
    clear = {place for place, dumps in seen.gone_by.items() if is_clear(dumps)}
    there: dict[str, list[Resource]] = defaultdict(list)
    for r in resources.values():
        for place in places_of(r):
            if place in clear and place not in known:
                there[place].append(r)
    wrong = seen.missing | seen.different.keys() | records.unfinished
    looks: dict[str, Look] = {}
    for place, inside in there.items():
        handle = records.handles.get(place, _NONE)
        if handle.pid is not None and place not in wrong and wrong.isdisjoint(r.id for r in inside):
            look = _look_of(inside, [dump for dump in seen.gone_by[place] if dump is not None])
            if look is not None:
                looks[place] = look
    with_looks = looks.keys() | (known.keys() & clear)
    return {
        place: look
        for place, look in looks.items()
        if all(with_looks.issuperset(places_of(r)) for r in there[place] if isinstance(r, Veth))
    }


def _look_of(inside: Sequence[Resource], dumps: Sequence[Dumped]) -> Look | None:
    """How a namespace with these resources looks; None if its dumps do not tell all of them."""
    told = [r for r in inside if not isinstance(r, Sysctl | Nat)]
    if any(r.kind not in TOLD_BY_DUMPS for r in told):
        return None
    if not {_DUMP[r.kind] for r in told} <= {dump.request for dump in dumps}:
        return None
    pairs = tuple(r.id for r in told if isinstance(r, Veth))
    return Look(tuple(dumps), tuple(r.id for r in told if not isinstance(r, Veth)), pairs)


_DUMP = {"veth": m.RTM_GETLINK, "address": m.RTM_GETADDR, "route": m.RTM_GETROUTE}


# Two processes

_MANY = 1000
"""So many links and addresses are observed by two processes."""


def _seen_by_two(known: Backends, records: Records, outer: int) -> Seen:
    for backend in _netlink(known):
        backend.close()  # its sockets are not for two
    first, rest = _halves(records)
    other = _Beside(partial(_seen, known, rest), outer) if rest.resources else None
    seen = _seen(known, first)
    return seen.with_(other.result()) if other is not None else seen


def _halves(records: Records) -> tuple[Records, Records]:
    """The records of a large lab in two: of links and addresses, those of half of the namespaces apart."""
    places: dict[str, list[Resource]] = {}
    for r in records.resources.values():
        if isinstance(r, Veth | Address):
            places.setdefault(places_of(r)[0], []).append(r)
    if sum(map(len, places.values())) < _MANY:
        return records, Records()
    apart = {r.id: r for place in sorted(places)[len(places) // 2 :] for r in places[place]}
    rest = {id_: r for id_, r in records.resources.items() if id_ not in apart}
    return (
        Records(rest, records.handles, records.unfinished),
        Records(apart, records.handles, records.unfinished & apart.keys()),
    )


class _Beside(Generic[T]):
    """Some work that a process of its own does meanwhile."""

    def __init__(self, work: Callable[[], T], outer: int) -> None:
        """`outer` is the pipe by which the calling process tells what it has seen."""
        self._pipe, theirs = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(theirs)
            return
        status = 1
        try:
            from vtopo.backends.syscalls import die_with_parent

            die_with_parent()
            for fd in (self._pipe, outer):  # whoever writes must learn that nobody reads any more
                os.close(fd)
            os.nice(10)  # as long as nobody waits for it, whoever reads the lab has the CPU first
            if os.getppid() == parent:
                with os.fdopen(theirs, "wb") as told:
                    pickle.dump(work(), told)
                status = 0
        finally:
            os._exit(status)

    def result(self) -> T:
        """What came of it; OSError if it did not get that far."""
        with contextlib.suppress(PermissionError):  # an ordinary user's stays as it is
            os.setpriority(os.PRIO_PROCESS, self._pid, os.getpriority(os.PRIO_PROCESS, 0))
        with os.fdopen(self._pipe, "rb") as pipe:
            told = pipe.read()
        if os.waitpid(self._pid, 0)[1] != 0:
            raise ChildProcessError(errno.ECHILD, "a process that looks at a part of the lab has failed")
        return cast("T", pickle.loads(told))  # noqa: S301  our own fork wrote it
