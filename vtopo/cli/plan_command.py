"""`vtopo plan`: what `up` would do, and why."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import CHANGES, DONE, USAGE, Failure
from vtopo.cli.outfile import check_outfile
from vtopo.cli.own_world import enter_world
from vtopo.cli.reading import read_source
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import check_with
from vtopo.cli.world import backends_of, failures_in_words, state_dir, with_builds

if TYPE_CHECKING:
    from vtopo.plan.plan import Plan


@click.command("plan", epilog="Example:  vtopo plan labs/quickstart.vlab --out plan.json")
@click.argument("file")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the plan, for `vtopo up FILE`.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there is something to do.")
@with_settings
@with_connect
@with_console()
def command(console: Console, file: str, out: Path | None, exit_code: bool, settings: dict[str, str]) -> int:
    """Print what `up FILE` would do now, each step with its reason; nothing is touched."""
    plan = show_plan(console, file, settings, out)
    return CHANGES if exit_code and plan else DONE


def show_plan(console: Console, file: str, settings: Mapping[str, str], out: Path | None = None) -> Plan:
    """Work out and print the plan of a lab file, and save it to `out`; that of a saved one, if it is still good."""
    from vtopo.backends import rootless
    from vtopo.cli.plan_file import Files, compile_saved, is_plan_file, read_plan, save_plan, stale
    from vtopo.compile.compiler import compile_lab
    from vtopo.plan.saved import StalePlan
    from vtopo.run.backends import Backends
    from vtopo.run.transaction import survey

    enter_world()
    if out is not None:
        check_outfile(out)
    files = Files({})
    saved = read_plan(file) if is_plan_file(file) else None
    if saved is not None:
        refuse_settings(file, settings)
        lab, source = compile_saved(console, file, saved)
    else:
        source = read_source(file)
        lab = check_with(console, source, settings, files.read)
    desired = with_builds(compile_lab(lab, str(Path.cwd())), lab.name)
    with failures_in_words(console, {source.path: source}):
        backends = backends_of(lab.name)
        plan, basis = survey(lab.name, desired, backends, state_dir())
        if rootless.inside() or rootless.outside():
            Backends(backends).check(plan)
    if saved is not None:
        try:
            saved.check(basis, plan)
        except StalePlan as e:
            raise stale(file, saved, e) from e
    _print(console, plan, lab.name)
    if out is not None:
        kept = saved.settings if saved else settings
        texts = {t.path: t.text for t in saved.texts} if saved else {source.path: source.text, **files.texts}
        save_plan(out, plan, lab.name, basis, kept, texts)
        console.say(f"saved; `{shlex.join(['vtopo', 'up', str(out)])}` does just that")
    return plan


def _print(console: Console, plan: Plan, lab: str) -> None:
    from vtopo.plan.render import lines, to_json

    if console.json:
        console.fact(to_json(plan, lab).rstrip("\n"))
    else:
        for line in lines(plan, console.verbose):
            console.say(line)


def refuse_settings(file: str, settings: Mapping[str, str]) -> None:
    """Failure if there are any: a saved plan has its own."""
    if settings:
        raise Failure(f"{file} is a saved plan, with its params' values in it; --set comes too late", USAGE)
