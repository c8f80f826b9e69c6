"""`vtopo link`: takes a link of a running lab down and up, lets it flap, changes its impairments."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.links import find_links, link_backends, set_state
from vtopo.cli.own_world import enter_world
from vtopo.cli.quantities import read_impairment, read_time
from vtopo.cli.world import failures_in_words, state_dir

if TYPE_CHECKING:
    from vtopo.compile.resources import Impairment, VethEnd

EXAMPLE = "Example:  vtopo link r1 r2 set delay=20ms loss=1%"


@click.command("link", epilog=EXAMPLE)
@click.option("--lab", help="The lab, where several have such nodes.")
@click.option("--from", "sender", metavar="NODE", help="`set` and `clear`: only what NODE sends.")
@click.option(
    "--every", metavar="TIME", default="5s", show_default=True, help="`flap`: from one time to the next."
)
@click.option("--times", metavar="N", type=click.IntRange(1, 10_000), default=1, help="`flap`: how often.")
@click.argument("node")
@click.argument("other", metavar="OTHER")
@click.argument("action", type=click.Choice(["down", "up", "flap", "set", "clear"]))
@click.argument("values", nargs=-1, metavar="[PROPERTY=VALUE]...")
@with_console(json=False)
def command(
    console: Console,
    node: str,
    other: str,
    action: str,
    values: tuple[str, ...],
    lab: str | None,
    sender: str | None,
    every: str,
    times: int,
) -> None:
    """Change the links between NODE and OTHER (`a`, or one interface: `a:eth0`) of a running lab.

    It is drift, which `status` shows, until `up` or `heal` restores what the lab file says.
    """
    enter_world()
    if (action == "set") != bool(values):
        raise Failure("`set`, and only it, takes values, such as delay=20ms", USAGE)
    if sender is not None and action not in ("set", "clear"):
        raise Failure("--from goes with `set` and `clear` only: a link is down both ways", USAGE)
    asked = read_impairment(values)
    with failures_in_words(console, {}):
        if action in ("down", "up"):
            console.say(set_state(node, other, lab, action))
            return
        found = find_links(node, other, lab)
        if action == "flap":
            ids = [veth.id for veth, _ in found.links]
            _flap(console, found.lab, ids, read_time(every, "--every"), times)
            return
        from vtopo.run import faults

        changes = {
            id_: faults.impaired(lambda was, end: _changed(was, end, asked), forth, back)
            for id_, (forth, back) in found.ways(sender).items()
        }
        faults.change_links(found.lab, link_backends(found.lab), state_dir(), changes)
        console.say(f"{found}: " + (f"set: {' '.join(values)}" if values else "without impairments"))


def _flap(console: Console, lab: str, ids: Sequence[str], period: float, times: int) -> None:
    """Half of each period down, half of it up; whatever interrupts, up at the end."""
    from vtopo.run import faults

    backends, state = link_backends(lab), state_dir()
    try:
        for n in range(times):
            faults.change_links(lab, backends, state, dict.fromkeys(ids, faults.down))
            console.say(f"down ({n + 1} of {times})")
            time.sleep(period / 2)
            faults.change_links(lab, backends, state, dict.fromkeys(ids, faults.up))
            console.say("up")
            if n + 1 < times:
                time.sleep(period / 2)
    except BaseException:
        faults.change_links(lab, backends, state, dict.fromkeys(ids, faults.up))
        raise


def _changed(was: Impairment, end: VethEnd, asked: dict[str, int]) -> Impairment | None:
    """What is asked, on top of what is there; nothing asked is all cleared."""
    from vtopo.compile.traffic import impairment
    from vtopo.model import lab as model

    now = dataclasses.asdict(was) | asked if asked else {}
    if "rate" in asked and "burst" not in asked:
        now["burst"] = 0  # chosen by the new rate
    return impairment(model.Impairment(**now), end.mtu)
