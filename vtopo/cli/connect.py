"""The option of all commands that have to do with VMs: which libvirt has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def with_connect(command: F) -> F:
    """Give a command `--connect URI`, which stands in the environment from then on."""
    help = "The libvirt that has the VMs; default: that of the lab's `up`, else qemu:///system."
    option = click.option("--connect", metavar="URI", expose_value=False, callback=_choose, help=help)
    return option(command)


def _choose(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    from vtopo.backends.hypervisor import CONNECT, unusable

    if (reason := unusable(value)) is not None:
        raise click.BadParameter(reason, ctx, parameter)
    os.environ[CONNECT] = value
