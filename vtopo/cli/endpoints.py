"""Finds interfaces of running labs by what people call them: `a:eth0`, or `a` for all that links plug in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vtopo.cli.errors import Failure
from vtopo.cli.links import records_of, running_lab
from vtopo.cli.running import some
from vtopo.cli.world import running_labs, state_dir
from vtopo.lang.suggest import did_you_mean

if TYPE_CHECKING:
    from vtopo.backends.wire import Spot
    from vtopo.state.store import Records

_OPEN = ("host", "container")
"""The kinds of nodes whose every interface can be named, whoever made it: its namespace has no one else's."""


class _NotHere(Exception):
    """A lab has no such interface; the text says what it has."""


def find_endpoints(wanted: Sequence[str], lab: str | None) -> tuple[str, Records, tuple[Spot, ...]]:
    """The lab that has these interfaces, its records, and where they are: `lab`, or the only one that has them."""
    found: list[tuple[str, Records, tuple[Spot, ...]]] = []
    reason = ""
    for name in [running_lab(lab)] if lab is not None else running_labs(state_dir()):
        records = records_of(name)
        try:
            spots = dict.fromkeys(spot for each in wanted for spot in _spots(records, each))
            found.append((name, records, tuple(spots)))
        except _NotHere as e:
            reason = str(e)
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"several labs have these; say which with --lab {'|'.join(each[0] for each in found)}")
    raise Failure(reason or "no lab is running; `vtopo up FILE` starts one")


def link_ends(records: Records) -> Iterator[Spot]:
    """The ends of all links, in their order."""
    from vtopo.backends.wire import Spot
    from vtopo.compile.resources import Veth

    for r in records.resources.values():
        if isinstance(r, Veth):
            for name, end in r.interfaces:
                yield Spot(name, end.netns, end.name)


def _spots(records: Records, wanted: str) -> list[Spot]:
    from vtopo.backends.wire import Spot

    node, colon, interface = wanted.partition(":")
    ends = [spot for spot in link_ends(records) if spot.name.partition(":")[0] == node]
    if not colon and ends:
        return ends
    if exact := [spot for spot in ends if spot.name == wanted]:
        return exact
    place = next((f"{node}/{kind}" for kind in _OPEN if f"{node}/{kind}" in records.resources), None)
    if place is not None and interface:
        return [Spot(wanted, place, interface)]
    names = [spot.name for spot in ends]
    if names:
        raise _NotHere(f"`{node}` has no link at `{interface}`; {did_you_mean(wanted, names, some(names))}")
    if place is not None:
        raise _NotHere(f"`{node}` has no links; say which of its interfaces, such as {node}:lo")
    nodes = {spot.name.partition(":")[0] for spot in link_ends(records)}
    raise _NotHere(
        f"there is no linked node `{node}` (a filter stands behind -f); {did_you_mean(node, nodes, some(nodes))}"
    )
