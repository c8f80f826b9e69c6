"""`vtopo ls`: the labs on this machine."""

from __future__ import annotations

import dataclasses
import time

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.own_world import enter_world
from vtopo.cli.words import natural
from vtopo.cli.world import failures_in_words, state_dir
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class _Row:
    """A lab: `created` is in seconds since the epoch; an orphan has marks on the machine and no record."""

    lab: str
    state: str
    file: str = ""
    created: int = 0

    @property
    def since(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created)) if self.created else ""


@click.command("ls", epilog="Example:  vtopo ls --json")
@with_console()
def command(console: Console) -> None:
    """List the labs on this machine, with their files and what is known of them."""
    enter_world()
    rows = _rows(console)
    if console.json:
        console.facts({"labs": [dataclasses.asdict(row) for row in rows]})
        return
    if not rows:
        console.say("no lab is running")
        return
    width = max(len("LAB"), *(len(row.lab) for row in rows))
    console.say(console.style(f"{'LAB':<{width}}  {'STATE':<13}  {'SINCE':<16}  FILE", "dim"))
    for row in sorted(rows, key=lambda row: natural(row.lab)):
        console.fact(f"{row.lab:<{width}}  {row.state:<13}  {row.since:<16}  {row.file}".rstrip())


def _rows(console: Console) -> list[_Row]:
    from vtopo.backends.marks import labs_by_marks
    from vtopo.state.store import labs

    with failures_in_words(console, {}):
        known = labs(state_dir())
    rows = []
    for lab in known:
        if lab.meta is None:
            rows.append(_Row(lab.lab, "damaged"))
        else:
            state = "up" if lab.this_boot else "gone (ended)" if lab.ended_early else "gone (reboot)"
            rows.append(_Row(lab.lab, state, lab.meta.source, lab.meta.created))
    return rows + [_Row(name, "orphan") for name in sorted(labs_by_marks() - {lab.lab for lab in known})]
