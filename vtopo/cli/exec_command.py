"""`vtopo exec`: runs a command in a node."""

from __future__ import annotations

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import find_node
from vtopo.cli.world import failures_in_words

RUNS_A_COMMAND = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(
    "exec", context_settings=RUNS_A_COMMAND, epilog="Example:  vtopo exec host1.a -- ping -c1 10.0.0.3"
)
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND...")
@with_connect
@with_console(json=False)
def command(console: Console, node: str, words: tuple[str, ...], lab: str | None) -> int:
    """Run COMMAND in the host, container or VM NODE; the exit status is the command's own.

    In a VM it is run by ssh if the lab says how; else by its guest agent, without a terminal, once standard input has
    ended.
    """
    enter_world()
    argv = list(words[1:] if words[0] == "--" else words)
    with failures_in_words(console, {}):
        return find_node(node, lab).run(argv)
