"""`vtopo compile`: writes what a lab compiles to."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import Failure
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import load_lab
from vtopo.compile.artefacts import artefacts


@click.command("compile", epilog="Example:  vtopo compile labs/overlay.vlab -o build/")
@click.argument("file")
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder."
)
@with_settings
@with_console(json=False)
def command(console: Console, file: str, output: Path, settings: dict[str, str]) -> None:
    """Write lab.json, plan.json, links.json, topology.dot and libvirt/*.xml of FILE to a folder."""
    lab = load_lab(console, file, settings)
    for name, text in artefacts(lab).items():
        try:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_text(text, encoding="utf-8")
        except OSError as e:
            raise Failure(f"cannot write to {output}: {os.strerror(e.errno or 0)}") from e
        console.say(f"{output / name}")
