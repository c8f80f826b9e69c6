"""`vtopo completion`: the script by which a shell completes vtopo's commands."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.shells import SHELLS, script


@click.command("completion", epilog='Example:  eval "$(vtopo completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@with_console(json=False)
def command(console: Console, shell: str) -> None:
    """Print the script for SHELL that completes commands, options, lab files, running labs and their nodes."""
    console.fact(script(shell, click.get_current_context().find_root().command).rstrip("\n"))
