"""`vtopo node`: stops, starts and restarts what runs in a host, which keeps its links."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import find_node
from vtopo.cli.world import failures_in_words, say_waiting, state_dir


@click.command("node", epilog="Example:  vtopo node r2 restart")
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("node")
@click.argument("action", type=click.Choice(["stop", "start", "restart"]))
@with_console(json=False)
def command(console: Console, node: str, action: str, lab: str | None) -> None:
    """End or start all that runs in the host NODE. Its interfaces, addresses and files stay as they are."""
    from vtopo.backends.life import LifeBackend
    from vtopo.compile.resources import Ready, Run
    from vtopo.run.interrupt import deferred
    from vtopo.state.lock import locked
    from vtopo.state.store import Store

    enter_world()
    with failures_in_words(console, {}):
        running = find_node(node, lab)
        state = state_dir()
        with locked(state, running.lab, None, say_waiting(console)), deferred():
            with Store.open(state, running.lab) as store:
                records = store.load()
            life = LifeBackend(running.lab)
            mine = [r for r in records.resources.values() if getattr(r, "node", None) == node]
            runs = [r for r in mine if isinstance(r, Run)]
            ready = [r for r in mine if isinstance(r, Ready)]
            since = {f"{node}/{name}": size for name, size in life.logs.sizes(node).items()}
            if action != "start":
                life.stop(running.handle, runs)
            failed = list(life.start(runs, ready, records.handles, since)) if action != "stop" else []
    if failed:
        raise Failure(f"{node}: {failed[0].reason}")
    words = {"stop": "stopped", "start": "started", "restart": "restarted"}
    console.say(f"{node} is {words[action]}: {len(runs)} daemon{'s' if len(runs) != 1 else ''}")
