"""`vtopo shell`: a shell in a node."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import find_node
from vtopo.cli.world import failures_in_words


@click.command("shell", epilog="Example:  vtopo shell r1")
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@with_console(json=False)
def command(console: Console, node: str, lab: str | None) -> int:
    """Start a shell in the host or container NODE, or by ssh in a VM; `exit` leaves it."""
    enter_world()
    running = find_node(node, lab)
    if running.kind == "domain" and running.ssh() is None:
        raise Failure(
            f"`{node}` is a VM without `ssh`, where no terminal can be had but its console's: `vtopo console {node}`"
        )
    with failures_in_words(console, {}):
        return running.run([running.shell()], env={"VTOPO_NODE": node, "VTOPO_LAB_NAME": running.lab})
