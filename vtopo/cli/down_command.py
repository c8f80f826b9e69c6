"""`vtopo down`: takes a lab away, leaving nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.run_options import with_run_options
from vtopo.cli.words import duration, plural
from vtopo.cli.world import (
    backends_of,
    choose_lab,
    failures_in_words,
    is_file,
    lab_of_file,
    recorded_labs,
    say_waiting,
    state_dir,
)
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.cli.trace import Trace


@click.command("down", epilog="Example:  vtopo down quickstart")
@click.argument("lab", required=False, metavar="[FILE|LAB]")
@click.option("--all", "everything", is_flag=True, help="Every lab of this machine.")
@click.option("--orphans", is_flag=True, help="What carries vtopo's marks and no record claims.")
@with_run_options
@with_connect
@with_console()
def command(
    console: Console,
    lab: str | None,
    everything: bool,
    orphans: bool,
    jobs: int | None,
    trace: Path | None,
) -> None:
    """Take a lab away: by name, by its file, or the only one running."""
    if lab is not None and (everything or orphans):
        raise Failure("--all and --orphans take no lab's name", USAGE)
    enter_world(start=bool(recorded_labs(state_dir())))
    state = state_dir()
    if everything or orphans:
        from vtopo.backends.marks import labs_by_marks

        marked = labs_by_marks()
        recorded = set(recorded_labs(state))
        names = sorted(marked | recorded if everything else marked - recorded)
    elif lab is not None and is_file(lab):
        names = [lab_of_file(lab)]  # a name may be a slip of the keyboard, a file's lab may just not run
    else:
        one = choose_lab(state, lab)
        names = [one] if one is not None else []
    from vtopo.cli.following import traced

    with traced(trace, " ".join(["vtopo down", *names])) as tracing:
        how = _How(everything or orphans, jobs, tracing)
        gone = [name for name in names if _take_down(console, name, how)]
    if console.json:
        console.facts({"down": gone})
    elif not gone:
        what = "no orphans" if orphans else f"no lab `{lab}`" if lab is not None else "no lab"
        console.say(f"{what} {'are' if orphans else 'is'} running; nothing to do")


@dataclass(frozen=True, slots=True)
class _How:
    """What the options say of the run."""

    sweep: bool
    jobs: int | None
    trace: Trace | None


def _take_down(console: Console, name: str, how: _How) -> bool:
    """Take one lab away; whether there was anything of it."""
    from vtopo.cli.following import followed
    from vtopo.run.transaction import Waiting, down

    started = time.monotonic()
    with failures_in_words(console, {}), followed(console, how.trace) as follower:
        result = down(
            name,
            backends_of(name, follower.watch, ending=True),
            state_dir(),
            on_event=follower.on_event,
            waiting=Waiting(on_wait=say_waiting(console)),
            watch=follower.watch,
            jobs=how.jobs,
            sweep=how.sweep,
        )
    if result.nothing:
        return False
    for swept in result.swept:
        console.detail(f"found by its mark: {swept}")
    count = plural(len(result.plan.steps) or len(result.swept), "resource")
    took = duration(time.monotonic() - started)
    console.say(f"{console.style(name, 'bold')} is {console.style('down', 'good')} in {took}: {count} gone")
    _say_what_stays(console, name)
    return True


def _say_what_stays(console: Console, name: str) -> None:
    """Snapshots, which somebody named."""
    from vtopo.backends.snapshots import Snapshots

    if kept := Snapshots(name).all():
        names = ", ".join(each.name for each in kept)
        console.note(
            f"kept: {plural(len(kept), 'snapshot')} ({names}); `vtopo snapshot --lab {name} --delete NAME`"
        )
