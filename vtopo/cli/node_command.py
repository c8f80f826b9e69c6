"""`vtopo node`: stops, starts, pauses or kills a container, a VM, or what runs in a host."""

from __future__ import annotations

from functools import partial

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import find_node
from vtopo.cli.words import plural
from vtopo.cli.world import backends_of, failures_in_words, say_waiting, state_dir


@click.command("node", epilog="Example:  vtopo node r2 restart")
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@click.argument("action", type=click.Choice(["stop", "start", "restart", "pause", "resume", "kill"]))
@with_connect
@with_console(json=False)
def command(console: Console, node: str, action: str, lab: str | None) -> None:
    """Stop, start, pause or kill the host, container or VM NODE.

    A host's interfaces, addresses and files stay unless it is killed. A container that stops loses its links, and gets
    them again when it starts. A VM keeps its links and disks.
    """
    from vtopo.run.node_faults import ACTIONS, act

    enter_world()
    with failures_in_words(console, {}):
        running = find_node(node, lab)
        name = running.lab
        daemons = act(name, node, action, partial(backends_of, name), state_dir(), say_waiting(console))
    counted = action in ("stop", "start", "restart") and (daemons or running.kind == "host")
    what = f": {plural(daemons, 'daemon')}" if counted else ""
    console.say(f"{node} is {ACTIONS[action]}{what}")
