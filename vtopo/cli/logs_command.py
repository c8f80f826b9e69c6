"""`vtopo logs`: what a node's daemons and commands have printed, a container's own program, a VM's guest."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import RunningNode, find_node
from vtopo.cli.world import failures_in_words
from vtopo.lang.suggest import did_you_mean

if TYPE_CHECKING:
    from vtopo.backends.logs import Logs

_AGAIN = 0.1  # seconds between two looks at whether there is more


@click.command("logs", epilog="Example:  vtopo logs -f r1")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each log."
)
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@click.argument("name", required=False)
@with_console(json=False)
def command(
    console: Console, node: str, name: str | None, lab: str | None, lines: int | None, follow: bool
) -> None:
    """Print what the daemons and commands of NODE have printed, or only the daemon NAME's.

    The log `main` is that of a container's own program, `console` what a VM's guest has said since its start.
    """
    enter_world()
    with failures_in_words(console, {}):
        _show(console, logs_of(find_node(node, lab)), node, name, lines, follow)


def logs_of(running: RunningNode) -> Logs:
    """The logs of a node."""
    from vtopo.backends.logs import Logs
    from vtopo.backends.scratch import DEFAULT_RUN_DIR, Scratch

    folder = Scratch(running.lab, DEFAULT_RUN_DIR).path
    if running.kind == "container":
        from vtopo.backends.docker_logs import ContainerLogs

        return ContainerLogs(running.lab, folder)
    if running.kind == "domain":
        from vtopo.backends.console_log import GuestLogs

        return GuestLogs(running.lab, folder)
    return Logs(folder)


def _show(console: Console, logs: Logs, node: str, name: str | None, lines: int | None, follow: bool) -> None:
    names = logs.names(node)
    if name is not None and name not in names:
        raise Failure(f"`{node}` has no log `{name}`; {did_you_mean(name, names, _some(names))}")
    coming: Iterator[tuple[str, bytes]] = iter(())
    if follow:
        coming = logs.follow(node)
        coming = itertools.chain([next(coming)], coming)  # from here on nothing is missed
    texts = {each: logs.text(node, each) for each in ([name] if name is not None else names)}
    texts = {each: text for each, text in texts.items() if text}
    if not texts and not follow:
        console.note(f"{node} has logged nothing")
    last = ""
    for each, text in texts.items():
        if lines is not None:
            text = "".join(text.splitlines(keepends=True)[-lines:] if lines else [])
        last = _print(each, text.encode(), last, several=len(texts) > 1)
    for each, piece in coming:
        if not piece:
            time.sleep(_AGAIN)
        elif name is None or each == name:
            last = _print(each, piece, last, several=name is None and len(logs.names(node)) > 1)


def _some(names: object) -> str:
    assert isinstance(names, list | tuple)
    return f"it has {', '.join(names)}" if names else "it has logged nothing"


def _print(name: str, piece: bytes, last: str, *, several: bool) -> str:
    """Print a piece of a log, as tail(1) does under a line with its name where that changes; the name."""
    if several and name != last:
        head = "" if not last else "\n"
        click.echo(f"{head}==> {name} <==")
    click.echo(piece, nl=False)
    return name
