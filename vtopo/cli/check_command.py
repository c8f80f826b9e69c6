"""`vtopo check`: every error and warning of lab files."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, USAGE
from vtopo.cli.sources import as_json, print_diagnostics, read_source, with_settings
from vtopo.cli.words import describe
from vtopo.compile.frontend import check_source


@click.command("check", epilog="Example:  vtopo check labs/*.vlab")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@with_settings
@with_console()
def command(console: Console, files: tuple[str, ...], settings: dict[str, str]) -> int:
    """Compile only: every error and warning of each FILE; - reads standard input."""
    failed = False
    found: list[dict[str, object]] = []
    for path in files:
        checked = check_source(read_source(path), settings)
        failed = failed or checked.lab is None
        if console.json:
            found += [as_json(d) for d in checked.diagnostics]
            continue
        print_diagnostics(console, checked.diagnostics, checked.source.path, checked.sources)
        if checked.lab is not None:
            console.say(f"{checked.source.path}: {console.style('ok', 'good')}, {describe(checked.lab)}")
    if console.json:
        console.facts({"diagnostics": found})
    return USAGE if failed else DONE
