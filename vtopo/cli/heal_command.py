"""`vtopo heal`: a running lab is again as `up` made it."""

from __future__ import annotations

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.links import running_lab
from vtopo.cli.own_world import enter_world
from vtopo.cli.world import backends_of, failures_in_words, state_dir


@click.command("heal", epilog="Example:  vtopo heal")
@click.argument("lab", required=False, metavar="[FILE|LAB]")
@with_connect
@with_console(json=False)
def command(console: Console, lab: str | None) -> None:
    """Undo all faults and other drift of a running lab: it is as the last `up` made it, whatever its file says now."""
    from vtopo.run.transaction import restore

    enter_world()
    with failures_in_words(console, {}):
        name = running_lab(lab)
        plan = restore(name, backends_of(name), state_dir())
    console.say(f"{name}: {plan.summary}" if plan else f"{name}: nothing had drifted")
