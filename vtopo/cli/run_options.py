"""The options of the commands that carry out a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def with_jobs(command: F) -> F:
    """Give a command `-j N`; it gets `jobs`, None where the machine decides."""
    help = "How many slow steps (containers, machines) at once; default: what CPUs and memory carry."
    option = click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help=help)
    return option(command)
