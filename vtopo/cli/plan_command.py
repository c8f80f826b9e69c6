"""`vtopo plan`: what `up` would do, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import CHANGES, DONE
from vtopo.cli.sources import check_loaded, read_source, with_settings
from vtopo.cli.world import backends_of, failures_in_words, state_dir

if TYPE_CHECKING:
    from vtopo.plan.plan import Plan


@click.command("plan", epilog="Example:  vtopo plan labs/quickstart.vlab")
@click.argument("file")
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there is something to do.")
@with_settings
@with_console()
def command(console: Console, file: str, exit_code: bool, settings: dict[str, str]) -> int:
    """Print what `up FILE` would do now, each step with its reason; nothing is touched."""
    plan = show_plan(console, file, settings)
    return CHANGES if exit_code and plan else DONE


def show_plan(console: Console, file: str, settings: Mapping[str, str]) -> Plan:
    """Work out and print the plan of a lab file."""
    from vtopo.compile.compiler import compile_lab
    from vtopo.plan.render import lines, to_json
    from vtopo.run.transaction import preview

    source = read_source(file)
    lab = check_loaded(console, source, settings)
    with failures_in_words(console, {source.path: source}):
        plan = preview(lab.name, compile_lab(lab), backends_of(lab.name), state_dir())
    if console.json:
        console.fact(to_json(plan, lab.name).rstrip("\n"))
    else:
        for line in lines(plan, console.verbose):
            console.say(line)
    return plan
