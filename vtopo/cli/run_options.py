"""The options of the commands that carry out a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def with_run_options(command: F) -> F:
    """Give a command `-j N` and `--trace FILE`; it gets `jobs`, None where the machine decides, and `trace`."""
    help = "How many slow steps (containers, machines) at once; default: what CPUs and memory carry."
    option = click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help=help)
    path = click.Path(dir_okay=False, path_type=Path)
    trace = click.option("--trace", type=path, metavar="FILE", help="Write a Chrome trace of the run.")
    return option(trace(command))
