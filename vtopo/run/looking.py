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
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Generic, NamedTuple, TypeVar, cast

from vtopo.backends import messages as m
from vtopo.backends.base import Backend, Handle, Present
from vtopo.backends.looks import Look, altered, covered, from_text, is_clear, to_text, told_of
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

    `stamp` is that of the records, and empty while something is recorded as unfinished. `gone_by` is the key of the
    looks that this went by, empty if there were none. The namespaces that are `altered` no longer look as they did;
    `fresh` is a text that says of others, in which nothing differs, how they look.
    """

    missing: set[str]
    different: dict[str, Present]
    stamp: str
    gone_by: str
    altered: set[str]
    fresh: str


def look(state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]], outer: int) -> Told:
    """See what differs from the records; `outer` is the pipe by which the calling process, a fork, will tell it."""
    with Store.open(state, lab) as store:
        key = key_of(store)
        kept = store.looks(key)
        looks = from_text(kept) if kept else {}
        known_as = covered(looks)
        records = store.load(without=known_as)
        stamp = "" if records.unfinished else store.stamp()
    others = _Beside(partial(altered, looks, records.handles), outer) if looks else None
    known = Backends(backends())
    may = _recognisable(records, looks)
    if may or looks:
        for backend in _netlink(known):
            backend.gone_by = {}
    seen = _seen_by_two(known, records, outer)
    changed = others.result() if others is not None else set()
    same = {place: each for place, each in looks.items() if place not in changed}
    if changed:
        with Store.open(state, lab) as store:
            more = store.load(only=known_as & told_of(looks, changed))
        seen = seen.with_(_seen_by_two(known, more, outer))
        records = Records({**records.resources, **more.resources}, records.handles, records.unfinished)
        may = _recognisable(records, same)
    fresh = to_text(dict(_fresh(may, seen, same, records.unfinished)) if may else {})
    return Told(seen.missing, seen.different, stamp, key if kept else "", changed, fresh)


def key_of(store: Store) -> str:
    """What looks are kept by: they go with the records as they are now, and with this vtopo."""
    return f"{store.stamp()} {this_one()}"


def places_of(r: Resource) -> tuple[str, ...]:
    """The namespaces, by the ids of what has them, that a resource is in: of a veth pair one for each end."""
    if isinstance(r, Veth):
        return r.left.netns, r.right.netns
    netns = getattr(r, "netns", None)
    return (netns,) if netns is not None else ()


def _seen(known: Backends, records: Records) -> Seen:
    present = known.observe(records)
    missing = records.resources.keys() - present.keys() - records.unfinished
    different = {
        id_: seen
        for id_, seen in present.items()
        if (seen.found is not (recorded := records.resources[id_]) and seen.found != recorded)
        or seen.handle != records.handles.get(id_, _NONE)
    }
    gone_by = {
        place: dumps for backend in _netlink(known) for place, dumps in (backend.gone_by or {}).items()
    }
    return Seen(missing, different, gone_by)


def _netlink(known: Backends) -> Sequence[NetlinkBackend]:
    return [backend for backend in known.all if isinstance(backend, NetlinkBackend)]


# Looks for the next time


def _recognisable(records: Records, known: Mapping[str, Look]) -> Mapping[str, Sequence[Resource]]:
    """What is in the nodes' namespaces that may get a look and have none yet: dumps tell all that is recorded of them.

    Left out is what has a link to a namespace that gets none, as a bridge's: it is taken apart for that link anyway.
    """
    inside: dict[str, list[Resource]] = defaultdict(list)
    far: dict[str, set[str]] = defaultdict(set)
    never: set[str] = set()
    for r in records.resources.values():
        places = places_of(r)
        for place in places:
            if isinstance(r, Sysctl | Nat):
                continue  # they are asked for otherwise, whether there is a look or not
            handle = records.handles.get(place, _NONE)
            if r.kind in TOLD_BY_DUMPS and None not in (handle.pid, handle.inode):
                inside[place].append(r)
                far[place].update(places)
            else:
                never.add(place)
    may = {
        place
        for place in inside
        if place not in never and place not in known and far[place].isdisjoint(never)
    }
    return {place: inside[place] for place in may}


def _fresh(
    may: Mapping[str, Sequence[Resource]], seen: Seen, same: Mapping[str, Look], unfinished: Set[str]
) -> Iterator[tuple[str, Look]]:
    """How those namespaces look that `may` be recognised by it, and in which nothing differs.

    What a link has at its other end must be clear, too, also where it still is the `same` as at an earlier look.
    """
    wrong = seen.missing | seen.different.keys() | unfinished
    seen = seen.with_(Seen(set(), {}, {place: set(each.dumps) for place, each in same.items()}))
    unclear = {place for place, dumps in seen.gone_by.items() if not is_clear(dumps)}
    for place, inside in may.items():
        dumps = tuple(dump for dump in seen.gone_by.get(place, ()) if dump is not None)
        told = {_DUMP[r.kind] for r in inside} <= {dump.request for dump in dumps}
        is_sure = unclear.isdisjoint(at for r in inside for at in places_of(r))
        if told and is_sure and place not in wrong and wrong.isdisjoint(r.id for r in inside):
            single = tuple(r.id for r in inside if not isinstance(r, Veth))
            pairs = tuple(r.id for r in inside if isinstance(r, Veth))
            yield place, Look(dumps, single, pairs)


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
