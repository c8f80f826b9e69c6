"""`vtopo status`: a lab's nodes, addresses, states and drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import CHANGES, DONE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.words import natural, plural
from vtopo.cli.world import backends_of, choose_lab, crashed_vms, failures_in_words, state_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vtopo.compile.resources import Resource
    from vtopo.plan.plan import Plan
    from vtopo.run.transaction import Standing


@click.command("status", epilog="Example:  vtopo status quickstart --json")
@click.argument("lab", required=False, metavar="[FILE|LAB]")
@click.option("--exit-code", is_flag=True, help="Exit with 3 if something drifted from what was made.")
@with_connect
@with_console()
def command(console: Console, lab: str | None, exit_code: bool) -> int:
    """Show the nodes of a running lab with their addresses, and what differs from what `up` made."""
    from vtopo.run.transaction import standing

    enter_world()
    name = choose_lab(state_dir(), lab)
    if name is None:
        console.say("no lab is running")
        return DONE
    with failures_in_words(console, {}):
        try:
            now = standing(name, backends_of(name), state_dir())
        except FileNotFoundError as e:
            raise Failure(
                f"lab `{name}` has no records here; `vtopo down --orphans` removes what is left"
            ) from e
        states = _states(now.drift, lambda: crashed_vms(name))
    if console.json:
        console.facts(_as_json(name, now, states))
    else:
        _print(console, name, now, states)
    return CHANGES if exit_code and now.drift else DONE


_NODES = {"host": "host", "container": "container", "domain": "vm", "bridge": "bridge"}
"""The kinds of resources that nodes are, and what the language calls them."""


_Shown: TypeAlias = "Mapping[str, tuple[str, Sequence[str], str]]"
"""Of each node its kind, its addresses, and what else there is to say of it."""


def _print(console: Console, name: str, now: Standing, states: Mapping[str, str]) -> None:
    nodes = _nodes(now.records.resources)
    console.fact(f"{console.style(name, 'bold')}  {now.source}")
    width = max((len(n) for n in nodes), default=0)
    kinds = max((len(kind) for kind, _, _ in nodes.values()), default=0)
    for node, (kind, addresses, more) in nodes.items():
        word = console.style(f"{states.get(node, 'up'):<4}", "bad" if node in states else "good")
        console.fact(f"  {node:<{width}}  {kind:<{kinds}}  {word}  {', '.join(addresses) or more}".rstrip())
    if not now.drift:
        console.fact(console.style("no drift", "good"))
        return
    from vtopo.plan.render import lines

    console.fact(console.style(f"drift: `vtopo up {now.source}` would", "bad"))
    for line in lines(now.drift, console.verbose):
        console.fact(f"  {line}")


def _nodes(resources: Mapping[str, Resource]) -> _Shown:
    """By full names, hosts first."""
    from vtopo.compile.resources import Veth

    addresses: dict[str, list[str]] = {}
    for id_, resource in resources.items():
        if resource.kind == "address":
            place, _, address = id_.partition("/address/")
            addresses.setdefault(place.partition(":")[0], []).append(address)
    nodes: dict[str, tuple[str, Sequence[str], str]] = {}
    for kind, word in _NODES.items():
        those = {id_.removesuffix(f"/{kind}"): "" for id_, r in resources.items() if r.kind == kind}
        if kind == "bridge":
            veths = (r for r in resources.values() if isinstance(r, Veth))
            those |= {v.stands_for: f"the cable {' -- '.join(v.ends)}" for v in veths if v.stands_for}
        for node in sorted(those, key=natural):
            nodes[node] = (word, addresses.get(node, []), those[node])
    return nodes


def _states(drift: Plan, crashed: Callable[[], frozenset[str]]) -> Mapping[str, str]:
    """How the nodes are that are not up: gone, or what is said of a container or VM that is there.

    `crashed` are the VMs whose guests have.
    """
    from vtopo.compile.resources import Container, Domain, Power, Veth
    from vtopo.plan.plan import Action

    found: dict[str, str] = {}
    for step in drift.steps:
        node = step.resource.id.rpartition("/")[0]
        is_there = step.change is not Action.CREATE
        match step.previous:
            case Container(state=state) if is_there:
                if state != "running":
                    found[node] = state
            case Domain() if is_there:
                pass  # something about it differs
            case Power(state="paused"):
                found[node] = "paused"
            case _ if isinstance(step.resource, Veth):
                if step.resource.stands_for is not None and not is_there:
                    found[step.resource.stands_for] = "gone"
            case _ if step.resource.kind in _NODES:
                lost = step.resource.kind == Domain.kind and node in crashed()
                found[node] = "crashed" if lost else "gone"
    return found


def _as_json(name: str, now: Standing, states: Mapping[str, str]) -> dict[str, object]:
    return {
        "lab": name,
        "file": now.source,
        "nodes": [
            {
                "node": node,
                "kind": kind,
                "state": states.get(node, "up"),
                "addresses": list(addresses),
            }
            for node, (kind, addresses, _) in _nodes(now.records.resources).items()
        ],
        "drift": [
            {
                "id": step.resource.id,
                "kind": step.resource.kind,
                "action": str(step.change),
                "reason": step.reason,
            }
            for step in now.drift.steps
        ],
        "summary": now.drift.summary if now.drift else plural(0, "change"),
    }
