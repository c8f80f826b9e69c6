"""`vtopo graph`: draws a lab."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import load_lab
from vtopo.diagram.dot import dot
from vtopo.diagram.render import FORMATS, RenderError, render
from vtopo.graph.topology import topology


@click.command("graph", epilog="Example:  vtopo graph labs/overlay.vlab -o overlay.svg")
@click.argument("file")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; .svg .png .pdf .dot"
)
@with_settings
@with_console(json=False)
def command(console: Console, file: str, output: Path | None, settings: dict[str, str]) -> None:
    """The diagram of FILE: dot on standard output, or a picture by OUTPUT's suffix."""
    lab = load_lab(console, file, settings)
    drawing = dot(lab, topology(lab))
    if output is None:
        console.fact(drawing.source.rstrip("\n"))
        return
    format = output.suffix.removeprefix(".")
    if format not in FORMATS:
        known = ", ".join(f".{f}" for f in FORMATS)
        raise Failure(f"{output}: the suffix says the format, and it is one of {known}", USAGE)
    try:
        data = render(drawing, format)
    except RenderError as e:
        raise Failure(str(e)) from e
    try:
        output.write_bytes(data)
    except OSError as e:
        raise Failure(f"cannot write {output}: {os.strerror(e.errno or 0)}") from e
    console.say(f"{output}: {lab.name}, {len(data)} bytes of {format}")
