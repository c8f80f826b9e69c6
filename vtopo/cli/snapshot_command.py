"""`vtopo snapshot`: saves a lab's VMs, lists what was saved, and removes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.progress import transfers
from vtopo.cli.stats_command import size
from vtopo.cli.words import duration, plural
from vtopo.cli.world import backends_of, choose_lab, failures_in_words, recorded_labs, say_waiting, state_dir

if TYPE_CHECKING:
    from vtopo.backends.snapshots import Snapshot


@click.command("snapshot", epilog="Example:  vtopo snapshot base && vtopo restore base")
@click.option("--lab", help="The lab, where several run.")
@click.option("-d", "--delete", is_flag=True, help="Remove the snapshot NAME.")
@click.argument("name", required=False)
@with_connect
@with_console()
def command(console: Console, name: str | None, lab: str | None, delete: bool) -> None:
    """Save all VMs of a lab, memory and disks at one moment, as NAME; without NAME, list the snapshots.

    They stay until they are removed, also when the lab is down.
    """
    from vtopo.backends.snapshots import Snapshots

    enter_world()
    if name is None:
        if delete:
            raise Failure("--delete takes the name of a snapshot", USAGE)
        with failures_in_words(console, {}):
            _list(console, [(one, s) for one in _with_snapshots(lab) for s in Snapshots(one).all()])
        return
    with failures_in_words(console, {}):
        if delete:
            of = _one_with_snapshots(lab)
            Snapshots(of).delete(name)
            console.say(f"snapshot {name} of {of} is removed")
        else:
            _take(console, name, lab)


def _take(console: Console, name: str, lab: str | None) -> None:
    from vtopo.run.snapshots import take
    from vtopo.state.lock import locked

    started = time.monotonic()
    of = running_lab_of(lab)
    lock = locked(state_dir(), of, None, say_waiting(console))
    with transfers(console) as tell:
        snapshot = take(state_dir(), of, name, backends_of(of), lock, tell)
    if console.json:
        console.facts(_as_json(of, snapshot))
        return
    took = duration(time.monotonic() - started)
    console.say(
        f"snapshot {name} of {of}: {plural(len(snapshot.vms), 'vm')}, {size(snapshot.size)} in {took}"
    )
    console.note(f"next: vtopo restore {name} · vtopo snapshot --delete {name}")


def running_lab_of(lab: str | None) -> str:
    """The running lab that is meant."""
    found = choose_lab(state_dir(), lab)
    if found is None or found not in recorded_labs(state_dir()):
        raise Failure(
            f"lab `{found}` is not running" if found else "no lab is running; `vtopo up FILE` starts one"
        )
    return found


def _with_snapshots(lab: str | None) -> list[str]:
    """The lab that is meant, running or not; all that have snapshots if none is."""
    from vtopo.backends.snapshots import labs

    return [lab] if lab is not None else labs()


def _one_with_snapshots(lab: str | None) -> str:
    labs = _with_snapshots(lab)
    if not labs:
        raise Failure("there are no snapshots")
    if len(labs) > 1:
        raise Failure(f"several labs have snapshots, so say which with --lab: {', '.join(labs)}", USAGE)
    return labs[0]


def _list(console: Console, found: list[tuple[str, Snapshot]]) -> None:
    if console.json:
        console.facts({"snapshots": [_as_json(lab, s) for lab, s in found]})
        return
    if not found:
        console.say("there are no snapshots")
        return
    rows = [("LAB", "NAME", "TAKEN", "VMS", "SIZE")]
    for lab, s in found:
        taken = time.strftime("%Y-%m-%d %H:%M", time.localtime(s.taken))
        rows.append((lab, s.name, taken, ", ".join(vm.node for vm in s.vms), size(s.size)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        console.fact("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _as_json(lab: str, snapshot: Snapshot) -> dict[str, object]:
    return {
        "lab": lab,
        "name": snapshot.name,
        "taken": snapshot.taken,
        "bytes": snapshot.size,
        "vms": [{"node": vm.node, "running": vm.running} for vm in snapshot.vms],
    }
