"""`vtopo import`: files of other tools as lab files."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.outfile import check_outfile, write_outfile
from vtopo.cli.reading import STDIN, read_bytes, read_module, read_source
from vtopo.cli.sources import print_diagnostics
from vtopo.cli.words import describe, plural
from vtopo.compile.frontend import check_source
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.source import Source

TOOLS = ("compose", "containerlab")


@click.command("import", epilog="Example:  vtopo import compose compose.yaml -o shop.vlab")
@click.argument("tool", type=click.Choice(TOOLS), metavar="|".join(TOOLS))
@click.argument("file")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; standard output else."
)
@with_console(json=False)
def command(console: Console, tool: str, file: str, output: Path | None) -> None:
    """FILE of Docker Compose or containerlab as a lab, with comments for what has no equivalent.

    - reads standard input. Paths in FILE are kept for a lab that stands in its folder, or where OUTPUT is.
    """
    # Late: PyYAML is for this command alone.
    from vtopo.importing.compose import import_compose
    from vtopo.importing.containerlab import import_containerlab
    from vtopo.importing.yaml_text import MOST_BYTES

    if output is not None:
        check_outfile(output)
        if file != STDIN and output.exists() and output.samefile(file):
            raise Failure(f"{output} is the file itself; give -o another name", USAGE)
    source = read_source(file, MOST_BYTES)
    convert = import_compose if tool == "compose" else import_containerlab
    diagnostics = Diagnostics()
    imported = convert(source, diagnostics, _folder(file, output))
    print_diagnostics(console, diagnostics, source.path, {source.path: source})
    if imported is None:
        raise Failure("", USAGE)
    if output is None:
        click.echo(imported.text.encode(), nl=False)
    else:
        write_outfile(output, imported.text, 0o644)
    _sum_up(console, Source(_lab_path(file, output), imported.text), imported.left)


def _folder(file: str, output: Path | None) -> str:
    """Where the file's relative paths begin, as seen from the lab's file."""
    if output is None:
        return "."
    here = Path() if file == STDIN else Path(file).parent
    return os.path.relpath(here.resolve(), output.parent.resolve())


def _lab_path(file: str, output: Path | None) -> str:
    if output is not None:
        return str(output)
    return str((Path() if file == STDIN else Path(file).parent) / "imported.vlab")


def _sum_up(console: Console, lab: Source, left: int) -> None:
    """What came of it, and whether it compiles already: beside the lab, which may be on standard output."""
    if console.quiet:
        return
    checked = check_source(lab, {}, read_module, read_bytes)
    print_diagnostics(console, checked.diagnostics, lab.path, checked.sources)
    what = f"{describe(checked.lab)}" if checked.lab is not None else "it does not compile yet"
    comments = f"; {plural(left, 'thing')} without an equivalent, in comments" if left else ""
    console.note(f"{lab.path}: {what}{comments}")
