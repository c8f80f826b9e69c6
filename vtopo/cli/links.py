"""Finds the links of running labs for the commands that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.world import choose_lab, running_labs, state_dir
from vtopo.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtopo.backends.base import Backend
    from vtopo.compile.resources import Veth
    from vtopo.state.store import Records


@dataclass(frozen=True, slots=True)
class Links:
    """Links between two nodes of a lab, each with whether it leads from the first to the second from left to right."""

    lab: str
    one: str
    other: str
    links: tuple[tuple[Veth, bool], ...]

    def __str__(self) -> str:
        more = f" ({len(self.links)} links)" if len(self.links) > 1 else ""
        first, _ = self.links[0]
        if first.lan:
            more = f" (the cable {' -- '.join(first.ends)})"
        return f"{self.one} -- {self.other}{more}"

    def ways(self, sender: str | None) -> dict[str, tuple[bool, bool]]:
        """By id: whether left to right is meant, and right to left; both, or what `sender` sends."""
        if sender is None:
            return {veth.id: (True, True) for veth, _ in self.links}
        nodes = [name.partition(":")[0] for name in (self.one, self.other)]
        if sender not in nodes or nodes[0] == nodes[1]:
            raise Failure(f"--from {sender}: it is one of {nodes[0]} and {nodes[1]}", USAGE)
        first = sender == nodes[0]
        return {veth.id: (forth == first, forth != first) for veth, forth in self.links}


def link_backends(lab: str) -> Sequence[Backend]:
    """The one backend that a link needs: a fault takes effect sooner if the others are not even imported."""
    from vtopo.backends.netlink import NetlinkBackend

    return (NetlinkBackend(lab),)


def records_of(lab: str) -> Records:
    """What is recorded of a running lab."""
    from vtopo.state.store import Store

    try:
        with Store.open(state_dir(), lab) as store:
            return store.load()
    except FileNotFoundError as e:
        raise Failure(f"lab `{lab}` has no records here; `vtopo down --orphans` removes what is left") from e


def find_links(one: str, other: str, lab: str | None) -> Links:
    """The links between two nodes, of `lab` or of the only one that has them."""
    from vtopo.run.faults import NoSuchLink, links_between

    found: list[Links] = []
    reason = ""
    for name in [running_lab(lab)] if lab is not None else running_labs(state_dir()):
        try:
            found.append(Links(name, one, other, tuple(links_between(records_of(name), one, other))))
        except NoSuchLink as e:
            reason = str(e)
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"several labs have these; say which with --lab {'|'.join(r.lab for r in found)}")
    raise Failure(reason or "no lab is running; `vtopo up FILE` starts one")


def running_lab(wanted: str | None) -> str:
    """The lab that is meant; Failure if none runs."""
    name = choose_lab(state_dir(), wanted)
    if name is None:
        raise Failure("no lab is running; `vtopo up FILE` starts one")
    return name


def set_state(one: str, other: str, lab: str | None, state: str) -> str:
    """Take the links between two nodes `down`, or `up` again; what to say of it."""
    from vtopo.run import faults

    found = find_links(one, other, lab)
    change = faults.down if state == "down" else faults.up
    faults.change_links(
        found.lab, link_backends(found.lab), state_dir(), {veth.id: change for veth, _ in found.links}
    )
    return f"{found}: {state}"
