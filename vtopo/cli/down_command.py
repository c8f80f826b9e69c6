"""`vtopo down`: takes a lab away, leaving nothing."""

from __future__ import annotations

import time

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.run_options import with_jobs
from vtopo.cli.words import duration, plural
from vtopo.cli.world import (
    backends_of,
    choose_lab,
    failures_in_words,
    is_file,
    lab_of_file,
    need_root,
    recorded_labs,
    say_waiting,
    state_dir,
)


@click.command("down", epilog="Example:  vtopo down quickstart")
@click.argument("lab", required=False, metavar="[FILE|LAB]")
@click.option("--all", "everything", is_flag=True, help="Every lab of this machine.")
@click.option("--orphans", is_flag=True, help="What carries vtopo's marks and no record claims.")
@with_jobs
@with_console()
def command(console: Console, lab: str | None, everything: bool, orphans: bool, jobs: int | None) -> None:
    """Take a lab away: by name, by its file, or the only one running."""
    if lab is not None and (everything or orphans):
        raise Failure("--all and --orphans take no lab's name", USAGE)
    need_root("`vtopo down`")
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
    gone = [name for name in names if _take_down(console, name, sweep=everything or orphans, jobs=jobs)]
    if console.json:
        console.facts({"down": gone})
    elif not gone:
        what = "no orphans" if orphans else f"no lab `{lab}`" if lab is not None else "no lab"
        console.say(f"{what} {'are' if orphans else 'is'} running; nothing to do")


def _take_down(console: Console, name: str, sweep: bool, jobs: int | None) -> bool:
    """Take one lab away; whether there was anything of it."""
    from vtopo.backends.base import Watch
    from vtopo.cli.progress import shown
    from vtopo.run.transaction import Waiting, down

    started = time.monotonic()
    with failures_in_words(console, {}), shown(console) as listener:
        watch = Watch()
        result = down(
            name,
            backends_of(name, watch),
            state_dir(),
            on_event=listener,
            waiting=Waiting(on_wait=say_waiting(console)),
            watch=watch,
            jobs=jobs,
            sweep=sweep,
        )
    if result.nothing:
        return False
    for swept in result.swept:
        console.detail(f"found by its mark: {swept}")
    count = plural(len(result.plan.steps) or len(result.swept), "resource")
    took = duration(time.monotonic() - started)
    console.say(f"{console.style(name, 'bold')} is {console.style('down', 'good')} in {took}: {count} gone")
    return True
