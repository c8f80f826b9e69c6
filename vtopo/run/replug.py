"""Containers that were started anew get their links again, and what was set and started in them; all else stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vtopo.backends.base import Backend, Handle, Present
from vtopo.compile.resources import Container, Ready, Resource
from vtopo.plan.plan import Plan
from vtopo.run.transaction import restore
from vtopo.state.folder import StateDir
from vtopo.state.store import Records


def start(lab: str, node: str, backends: Sequence[Backend], state: StateDir) -> Plan:
    """Have a container run again as `up` made it, with its links to all that runs; the plan that was carried out."""

    def seen_as(records: Records, present: Mapping[str, Present]) -> Mapping[str, Present]:
        return _only({f"{node}/{Container.kind}"}, records, present)

    return restore(lab, backends, state, seen_as=seen_as)


def replug(lab: str, backends: Sequence[Backend], state: StateDir) -> Plan:
    """Plug in what Docker has started anew by itself; who was stopped stays so. The plan that was carried out.

    Nobody waits for it to get ready, and what succeeds stays: links are no worse for a daemon that fails.
    """

    def seen_as(records: Records, present: Mapping[str, Present]) -> Mapping[str, Present]:
        bare = {id_ for id_, seen in present.items() if _is_bare(records.resources[id_], seen.found)}
        ready = {id_: Present(r) for id_, r in records.resources.items() if isinstance(r, Ready)}
        return {**_only(bare, records, present), **ready}

    return restore(lab, backends, state, seen_as=seen_as, keep_failed=True)


def _is_bare(recorded: Resource, found: Resource) -> bool:
    """Whether a container runs without the network that the lab gave it."""
    if not isinstance(recorded, Container) or not isinstance(found, Container):
        return False
    return found.state == "detached" or (found.state == "running" and found.netns != recorded.netns)


def _only(nodes: Collection[str], records: Records, present: Mapping[str, Present]) -> Mapping[str, Present]:
    """What is there of these containers and of what needs them; all else as it was made.

    What needs a container that does not run, too, waits for that one.
    """
    resources = records.resources
    down = {id_ for id_, r in resources.items() if isinstance(r, Container) and not _runs(present.get(id_))}
    touched = _with_dependents(nodes, resources) - _with_dependents(down - set(nodes), resources)
    as_made = {id_: Present(r, records.handles.get(id_, Handle())) for id_, r in resources.items()}
    found = {id_: seen for id_, seen in present.items() if id_ in touched}
    return {id_: seen for id_, seen in as_made.items() if id_ not in touched | records.unfinished} | found


def _runs(seen: Present | None) -> bool:
    return seen is not None and isinstance(seen.found, Container) and seen.found.state != "stopped"


def _with_dependents(ids: Collection[str], resources: Mapping[str, Resource]) -> set[str]:
    """These, and all that needs one of them, through others as well."""
    dependents: dict[str, list[str]] = {}
    for r in resources.values():
        for need in r.needs:
            dependents.setdefault(need, []).append(r.id)
    found = set(ids)
    queue = list(ids)
    while queue:
        new = [id_ for id_ in dependents.get(queue.pop(), ()) if id_ not in found]
        found.update(new)
        queue += new
    return found
