"""`vtopo doctor`: what this machine can do for labs, what is missing, and how to get it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import load_lab
from vtopo.cli.words import plural
from vtopo.doctor.findings import Finding, Health

if TYPE_CHECKING:
    from vtopo.compile.resources import Resource
    from vtopo.run.events import StepFailed

_ROLES = {Health.GOOD: "good", Health.NOTE: "warning", Health.BAD: "bad"}
_WIDTH = 80


@click.command("doctor", epilog="Example:  vtopo doctor labs/vm-firewall.vlab")
@click.argument("file", required=False)
@with_settings
@with_connect
@with_console()
def command(console: Console, file: str | None, settings: dict[str, str]) -> int:
    """Say what this machine can do for labs, or what FILE needs of it and whether `up` would work.

    Every finding has what it means and the command that mends it; nothing is changed by this.
    """
    from vtopo.doctor.examine import examine, relevant

    if file is None:
        found = examine()
        if console.json:
            console.facts({"findings": [_as_json(f) for f in found]})
        else:
            _print(console, found)
        return DONE
    from vtopo.compile.compiler import compile_lab

    lab = load_lab(console, file, settings)
    resources = compile_lab(lab, str(Path.cwd()))
    found = relevant(examine(), lab, resources)
    failures = _refused(lab.name, resources)
    if console.json:
        reasons = [{"id": f.resource.id, "reason": f.reason} for f in failures]
        console.facts(
            {
                "lab": lab.name,
                "works": not failures,
                "reasons": reasons,
                "findings": [_as_json(f) for f in found],
            }
        )
    else:
        _print(console, found)
        _verdict(console, lab.name, failures)
    return FAILED if failures else DONE


def _refused(lab: str, resources: Sequence[Resource]) -> Sequence[StepFailed]:
    """What the backends say that they cannot make."""
    from vtopo.cli.world import backends_of
    from vtopo.plan.diff import diff
    from vtopo.run.backends import Backends
    from vtopo.run.events import RunFailed

    try:
        Backends(backends_of(lab)).check(diff(resources, {}, {}))
    except RunFailed as e:
        return e.failures
    return ()


def _print(console: Console, found: Sequence[Finding]) -> None:
    width = max(len(f.title) for f in found)
    for f in found:
        word = console.style(f"{f.health.value:<7}", _ROLES[f.health])
        indent = " " * (width + 11)
        text = textwrap.fill(f.found, _WIDTH, initial_indent=indent, subsequent_indent=indent).lstrip()
        console.fact(f"{word}  {f.title:<{width}}  {text}")
        if f.health is not Health.GOOD or console.verbose:
            if f.meaning:
                console.fact(
                    textwrap.fill(f.meaning, _WIDTH, initial_indent=indent, subsequent_indent=indent)
                )
            if f.mend:
                console.fact(f"{indent}{console.style(f.mend, 'bold')}")


def _verdict(console: Console, lab: str, failures: Sequence[StepFailed]) -> None:
    if not failures:
        console.fact(console.style(f"`vtopo up` can make {lab} on this machine", "good"))
        return
    console.fact(console.style(f"`vtopo up` cannot make {lab}: {plural(len(failures), 'reason')}", "bad"))
    for failure in failures:
        where = f"{failure.origin}: " if failure.origin is not None else ""
        console.fact(f"  {where}{failure.resource.id}: {failure.reason}")


def _as_json(f: Finding) -> dict[str, str]:
    return {
        "name": f.name,
        "title": f.title,
        "health": f.health.value,
        "found": f.found,
        "meaning": f.meaning,
        "mend": f.mend,
    }
