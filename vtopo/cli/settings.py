"""`--set NAME=VALUE`, which commands that read a lab have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def with_settings(command: F) -> F:
    """Give a command `--set NAME=VALUE`; it gets `settings`, by name."""

    def read(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        settings: dict[str, str] = {}
        for one in given:
            name, equals, value = one.partition("=")
            if not (name and equals and value):
                raise click.BadParameter(f"{one!r} is not NAME=VALUE")
            settings[name] = value
        return settings

    help = "A param's value; may be given again for others."
    option = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", callback=read, help=help)
    return option(command)
