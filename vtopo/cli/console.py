"""What a command prints with: colour, quiet and verbose, people or JSON."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from vtopo.values import dataclass

F = TypeVar("F", bound=Callable[..., Any])

_ROLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "frame": {"fg": "blue"},
    "bold": {"bold": True},
    "dim": {"dim": True},
}


@dataclass(frozen=True, slots=True)
class Console:
    """The options that every command takes, and printing by them."""

    color: bool
    quiet: bool
    verbose: bool
    json: bool
    lines: bool = False

    def in_lines(self) -> Console:
        """The same, with each JSON document on one line."""
        return replace(self, lines=True)

    def style(self, text: str, role: str) -> str:
        """`text` painted by its role, where colours are on."""
        return click.style(text, **_ROLES[role]) if self.color and text else text

    def say(self, text: str = "") -> None:
        """A line for people; not with --quiet or --json."""
        if not self.quiet and not self.json:
            click.echo(text, color=self.color)

    def fact(self, text: str) -> None:
        """A line that was asked for; printed even with --quiet."""
        click.echo(text, color=self.color)

    def note(self, text: str) -> None:
        """A line on stderr."""
        click.echo(text, err=True, color=self.color)

    def detail(self, text: str) -> None:
        """A line with --verbose only."""
        if self.verbose:
            self.say(text)

    def facts(self, value: object) -> None:
        """A JSON document on standard output."""
        click.echo(json.dumps(value, indent=None if self.lines else 1, ensure_ascii=False))

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal."""
        return sys.stderr.isatty() and not self.quiet and not self.json


def _colored(choice: str) -> bool:
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty() and sys.stderr.isatty()


def with_console(json: bool = True) -> Callable[[F], F]:
    """Give a command the common options; it gets a `Console` as its first argument."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(color: str, quiet: bool, verbose: bool, as_json: bool = False, **rest: Any) -> Any:
            return command(Console(_colored(color), quiet, verbose, as_json), **rest)

        decorated: Any = wrapped
        if json:
            decorated = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")(
                decorated
            )
        choices = click.Choice(["auto", "always", "never"])
        decorated = click.option(
            "--color", type=choices, default="auto", help="When to colour (default: auto)."
        )(decorated)
        decorated = click.option("-v", "--verbose", is_flag=True, help="Print more.")(decorated)
        decorated = click.option("-q", "--quiet", is_flag=True, help="Print only what was asked for.")(
            decorated
        )
        result: F = decorated
        return result

    return decorate
