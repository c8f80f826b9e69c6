"""`vtopo node`: stops, starts, pauses or kills what runs in a host."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import find_node
from vtopo.cli.words import plural
from vtopo.cli.world import failures_in_words, say_waiting, state_dir


@click.command("node", epilog="Example:  vtopo node r2 restart")
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@click.argument("action", type=click.Choice(["stop", "start", "restart", "pause", "resume", "kill"]))
@with_console(json=False)
def command(console: Console, node: str, action: str, lab: str | None) -> None:
    """Stop, start, pause or kill the host NODE. Unless it is killed, its interfaces, addresses and files stay."""
    from vtopo.run.node_faults import ACTIONS, act
    from vtopo.state.lock import locked

    enter_world()
    with failures_in_words(console, {}):
        name = find_node(node, lab).lab
        lock = locked(state_dir(), name, None, say_waiting(console))
        daemons = act(state_dir(), name, node, action, lock)
    what = f": {plural(daemons, 'daemon')}" if action in ("stop", "start", "restart") else ""
    console.say(f"{node} is {ACTIONS[action]}{what}")
