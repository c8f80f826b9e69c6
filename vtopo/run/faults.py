"""Faults on purpose: links of a running lab go down, come back, or get other impairments; `up` restores what was made.

The records stay as they are: they say what `up` made, and a fault is drift.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from vtopo.backends.base import Backend, BackendError, Failed, Present
from vtopo.compile.resources import Impairment, Resource, Veth, VethEnd
from vtopo.plan.plan import Action
from vtopo.run.backends import Backends
from vtopo.run.events import RunFailed, StepFailed
from vtopo.run.interrupt import deferred
from vtopo.state.folder import StateDir
from vtopo.state.lock import locked
from vtopo.state.store import Records, Store

Change: TypeAlias = Callable[[Veth], Veth]
"""What becomes of a link, given as it is found."""


class NoSuchLink(Exception):
    """There is no link between two nodes; the text says which there are."""


def nodes_of(veth: Veth) -> tuple[tuple[str, str], ...]:
    """The full names of the nodes that a link joins: two, or, of a LAN that is a cable, each of two and the LAN."""
    return tuple((a.partition(":")[0], b.partition(":")[0]) for a, b in veth.lines)


def links_between(records: Records, one: str, other: str) -> list[tuple[Veth, bool]]:
    """As `links_among` all that is recorded."""
    return links_among(records.resources.values(), one, other)


def links_among(resources: Iterable[Resource], one: str, other: str) -> list[tuple[Veth, bool]]:
    """The links from a node, or an interface (`a:eth0`), to another, and whether that is from left to right.

    NoSuchLink if there is none.
    """
    veths = [r for r in resources if isinstance(r, Veth)]
    found = [(v, True) for v in veths if _joins(v, one, other)]
    found += [(v, False) for v in veths if _joins(v, other, one) and (v, True) not in found]
    if not found:
        near = sorted({n for v in veths for n in _beyond(v, one)})
        known = f"`{one}` has links to {', '.join(near[:6])}{' …' if len(near) > 6 else ''}" if near else ""
        raise NoSuchLink(
            f"there is no link between `{one}` and `{other}`; {known or f'`{one}` has no links'}"
        )
    return found


def _joins(veth: Veth, left: str, right: str) -> bool:
    return any(
        all(wanted in (end, end.partition(":")[0]) for wanted, end in zip((left, right), line, strict=True))
        for line in veth.lines
    )


def _beyond(veth: Veth, one: str) -> Iterator[str]:
    for (left, right), (a, b) in zip(veth.lines, nodes_of(veth), strict=True):
        if one in (left, a):
            yield b
        if one in (right, b):
            yield a


def down(veth: Veth) -> Veth:
    """No frame passes. Of a bridge's link only the bridge's port goes down, so the node keeps addresses and routes.

    A LAN that is a cable is down as a whole, as any other link.
    """
    ports = [name for name in ("left", "right") if getattr(veth, name).master is not None]
    return _with(veth, ports[-1:] or ("left", "right"), lambda end: dataclasses.replace(end, state="down"))


def up(veth: Veth) -> Veth:
    """Both ends are up."""
    return _with(veth, ("left", "right"), lambda end: dataclasses.replace(end, state="up"))


def _with(veth: Veth, names: Sequence[str], change: Callable[[VethEnd], VethEnd]) -> Veth:
    changed = {name: change(getattr(veth, name)) for name in names}
    return dataclasses.replace(veth, **changed)  # type: ignore[arg-type]


def impaired(
    change: Callable[[Impairment, VethEnd], Impairment | None], forth: bool = True, back: bool = True
) -> Change:
    """Another impairment from left to right, the other way, or both ways."""

    def changed(end: VethEnd) -> VethEnd:
        return dataclasses.replace(end, impairment=change(end.impairment or Impairment(), end))

    names = [name for name, is_asked in (("left", forth), ("right", back)) if is_asked]
    return lambda veth: _with(veth, names, changed)


def change_links(
    lab: str, backends: Sequence[Backend], state: StateDir, changes: Mapping[str, Change]
) -> None:
    """Change links of a running lab, by their ids; what a link takes along when it goes down comes back with it.

    FileNotFoundError without records; RunFailed for what the kernel refuses.
    """
    with locked(state, lab), deferred():
        with Store.open(state, lab) as store:
            records = store.load()
        known = Backends(backends)
        seen = _seen(known, records, changes)
        wanted = {id_: change(_found(seen, id_)) for id_, change in changes.items()}
        netlink = known.of(Veth.kind)
        pairs = [(seen[id_].found, new) for id_, new in wanted.items() if seen[id_].found != new]
        _must(wanted, list(netlink.unable([new for _, new in pairs])), refused=True)
        _must(wanted, [o for o in netlink.update(pairs, records.handles) if isinstance(o, Failed)])
        _bring_back(known, records, [id_ for id_, new in wanted.items() if _is_up(new)])


def passing(backends: Sequence[Backend], records: Records, veths: Sequence[Veth]) -> list[Veth]:
    """Those links whose both ends are there, and up."""
    seen = Backends(backends).of(Veth.kind).observe(veths, records.handles)
    found = (present.found for present in seen.values())
    return [veth for veth in found if isinstance(veth, Veth) and _is_up(veth)]


def _is_up(veth: Veth) -> bool:
    return veth.left.state == veth.right.state == "up"


def _seen(known: Backends, records: Records, ids: Mapping[str, Change]) -> Mapping[str, Present]:
    recorded = [records.resources[id_] for id_ in ids]
    return known.of(Veth.kind).observe(recorded, records.handles)


def _found(seen: Mapping[str, Present], id_: str) -> Veth:
    present = seen.get(id_)
    if present is None or not isinstance(present.found, Veth):
        raise BackendError(f"{id_.removesuffix('/veth')} is gone; `vtopo up` makes it again")
    return present.found


def _bring_back(known: Backends, records: Records, links: Sequence[str]) -> None:
    """Addresses and routes that went when a link went down."""
    lost = [
        r
        for r in records.resources.values()
        if r.kind in ("address", "route") and not set(links).isdisjoint(r.needs)
    ]
    netlink = known.of(Veth.kind)
    there = netlink.observe(lost, records.handles)
    for kind in ("address", "route"):
        batch = [r for r in lost if r.kind == kind and r.id not in there]
        wanted = {r.id: r for r in batch}
        outcomes = netlink.create(batch, records.handles) if batch else ()
        _must(wanted, [o for o in outcomes if isinstance(o, Failed)])


def _must(wanted: Mapping[str, Resource], failures: Sequence[Failed], refused: bool = False) -> None:
    if failures:
        told = tuple(StepFailed(wanted[f.id], Action.UPDATE, f.reason, f.errno) for f in failures)
        raise RunFailed(told, refused=refused, kept=True)
