"""`vtopo ls`: the labs on this machine."""

from __future__ import annotations

import time

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.world import failures_in_words, state_dir


@click.command("ls", epilog="Example:  vtopo ls --json")
@with_console()
def command(console: Console) -> None:
    """List the labs on this machine, with their files and what is known of them."""
    from vtopo.backends.marks import labs_by_marks
    from vtopo.state.store import labs

    with failures_in_words(console, {}):
        known = labs(state_dir())
    rows: list[dict[str, object]] = []
    for lab in known:
        state = "damaged" if lab.meta is None else "up" if lab.this_boot else "gone (reboot)"
        source = lab.meta.source if lab.meta is not None else ""
        created = lab.meta.created if lab.meta is not None else 0
        rows.append({"lab": lab.lab, "state": state, "file": source, "created": created})
    names = {lab.lab for lab in known}
    for name in sorted(labs_by_marks() - names):
        rows.append({"lab": name, "state": "orphan", "file": "", "created": 0})
    if console.json:
        console.facts({"labs": rows})
        return
    if not rows:
        console.say("no lab is running")
    for row in rows:
        created = row["created"]
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(created)) if isinstance(created, int) and created else ""
        console.fact(f"{row['lab']!s:<16} {row['state']!s:<14} {since:<16} {row['file']}".rstrip())
