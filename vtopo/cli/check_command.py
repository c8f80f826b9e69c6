"""`vtopo check`: every error and warning of lab files."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, USAGE, Failure
from vtopo.cli.reading import read_bytes, read_module, read_source
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import as_json, print_annotations, print_diagnostics
from vtopo.cli.words import describe
from vtopo.compile.frontend import check_source


@click.command("check", epilog="Example:  vtopo check labs/*.vlab")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    help="text for people (default), json as --json, or github: annotations of a workflow's run.",
)
@with_settings
@with_console()
def command(console: Console, files: tuple[str, ...], settings: dict[str, str], form: str | None) -> int:
    """Compile only: every error and warning of each FILE; - reads standard input."""
    if console.json and form not in {None, "json"}:
        raise Failure(f"--json and --format {form} are two forms; give one", USAGE)
    form = "json" if console.json else form or "text"
    failed = False
    found: list[dict[str, object]] = []
    for path in files:
        checked = check_source(read_source(path), settings, read_module, read_bytes)
        failed = failed or checked.lab is None
        if form == "json":
            found += [as_json(d) for d in checked.diagnostics]
        elif form == "github":
            print_annotations(console, checked.diagnostics, path)
        else:
            print_diagnostics(console, checked.diagnostics, checked.source.path, checked.sources)
        if checked.lab is not None and form != "json":
            console.say(f"{checked.source.path}: {console.style('ok', 'good')}, {describe(checked.lab)}")
    if form == "json":
        console.facts({"diagnostics": found})
    return USAGE if failed else DONE
