"""What the process does that looks at a lab while its file is still read; a large lab it looks at with another one."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeAlias, cast

from vtopo.backends.base import Backend, Handle, Present
from vtopo.backends.processes import look_once
from vtopo.backends.syscalls import die_with_parent
from vtopo.compile.resources import Address, Host, Resource, Veth
from vtopo.run.backends import Backends, left_to_programs
from vtopo.run.interrupt import STOPPING
from vtopo.state.folder import StateDir
from vtopo.state.store import Records, Store
from vtopo.values import dataclass

_NONE = Handle()
Told: TypeAlias = tuple[set[str], dict[str, Present], str]
"""The recorded resources that are not there, those that are not as they are recorded, and the records' stamp.

The stamp is empty while something is recorded as unfinished.
"""


def tell(pipe: int, state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]]) -> NoReturn:
    """Observe, and write what differs from the records: most of a lab is as it was made."""
    look_once()
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    with Store.open(state, lab) as store:
        records = store.load()
        stamp = "" if records.unfinished else store.stamp()
    known = Backends(backends())
    first, rest = _halves(records)
    other = _beside(known, rest, pipe) if rest.resources else None
    missing, different = _seen(known, first)
    if other is not None:
        more_missing, more_different = other.result()
        missing |= more_missing
        different |= more_different
    # Only now are the links and addresses seen together with what runs.
    seen = left_to_programs(records, different)
    missing |= different.keys() - seen.keys()
    different = _differing(seen, records)
    with open(pipe, "wb") as told:
        pickle.dump((missing, different, stamp), told)
    os._exit(0)


_Seen: TypeAlias = tuple[set[str], dict[str, Present]]
"""What is missing of the resources that were looked for, and what is not as it is recorded."""


def _seen(known: Backends, records: Records) -> _Seen:
    present = known.observe(records)
    missing = records.resources.keys() - present.keys() - records.unfinished
    return missing, _differing(present, records)


def _differing(present: Mapping[str, Present], records: Records) -> dict[str, Present]:
    return {
        id_: seen
        for id_, seen in present.items()
        if (seen.found is not (recorded := records.resources[id_]) and seen.found != recorded)
        or seen.handle != records.handles.get(id_, _NONE)
    }


_MANY = 1000
"""So many hosts, links and addresses are observed by two processes."""


def _halves(records: Records) -> tuple[Records, Records]:
    """The records of a large lab in two: of hosts, links and addresses, those of half of the namespaces apart."""
    places: dict[str, list[Resource]] = {}
    for r in records.resources.values():
        if isinstance(r, Veth | Address):
            places.setdefault(r.left.netns if isinstance(r, Veth) else r.netns, []).append(r)
        elif isinstance(r, Host):
            places.setdefault(r.id, []).append(r)
    if sum(map(len, places.values())) < _MANY:
        return records, Records()
    apart = {r.id: r for place in sorted(places)[len(places) // 2 :] for r in places[place]}
    rest = {id_: r for id_, r in records.resources.items() if id_ not in apart}
    return (
        Records(rest, records.handles, records.unfinished),
        Records(apart, records.handles, records.unfinished & apart.keys()),
    )


@dataclass(frozen=True, slots=True)
class _Beside:
    """A process that observes another part meanwhile, and the pipe by which it tells."""

    pid: int
    pipe: int

    def result(self) -> _Seen:
        """What it has seen; OSError if it did not get that far."""
        with contextlib.suppress(PermissionError):  # an ordinary user's stays as it is
            os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0))
        with os.fdopen(self.pipe, "rb") as pipe:
            told = pipe.read()
        if os.waitpid(self.pid, 0)[1] != 0:
            raise ChildProcessError(errno.ECHILD, "the second process that looks at the lab has failed")
        return cast("_Seen", pickle.loads(told))  # noqa: S301  our own fork wrote it


def _beside(known: Backends, records: Records, outer: int) -> _Beside:
    """Start it; `outer` is the pipe by which this process tells what it has seen."""
    ours, theirs = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return _Beside(pid, ours)
    status = 1
    try:
        die_with_parent()
        for fd in (ours, outer):  # whoever writes must learn that nobody reads any more
            os.close(fd)
        os.nice(10)  # as long as nobody waits for it, whoever reads the lab has the CPU first
        if os.getppid() == parent:
            seen = _seen(known, records)
            with os.fdopen(theirs, "wb") as told:
                pickle.dump(seen, told)
            status = 0
    finally:
        os._exit(status)
