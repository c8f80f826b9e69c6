"""`vtopo restore`: brings a lab's VMs back to a snapshot."""

from __future__ import annotations

import time

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.own_world import enter_world
from vtopo.cli.progress import transfers
from vtopo.cli.snapshot_command import running_lab_of
from vtopo.cli.words import duration, plural
from vtopo.cli.world import backends_of, failures_in_words, say_waiting, state_dir


@click.command("restore", epilog="Example:  vtopo restore base")
@click.option("--lab", help="The lab, where several run.")
@click.argument("name")
@with_connect
@with_console(json=False)
def command(console: Console, name: str, lab: str | None) -> None:
    """Bring all VMs of a running lab back to the snapshot NAME: what they did since is lost."""
    from vtopo.run.snapshots import restore
    from vtopo.state.lock import locked

    enter_world()
    started = time.monotonic()
    with failures_in_words(console, {}):
        of = running_lab_of(lab)
        lock = locked(state_dir(), of, None, say_waiting(console))
        with transfers(console) as tell:
            snapshot = restore(state_dir(), of, name, backends_of(of), lock, tell)
    took = duration(time.monotonic() - started)
    console.say(f"{of} is at snapshot {name} again: {plural(len(snapshot.vms), 'vm')} in {took}")
