"""Saved plans: written by `vtopo plan --out`, read and compiled again by `vtopo up plan.json`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vtopo.cli.console import Console
from vtopo.cli.errors import FAILED, USAGE, Failure
from vtopo.cli.outfile import write_outfile
from vtopo.cli.reading import STDIN, read_module
from vtopo.cli.sources import check_with
from vtopo.lang.source import Source, Unreadable
from vtopo.model.lab import Lab
from vtopo.model.modules import Reader
from vtopo.plan.saved import NotAPlan, SavedPlan, StalePlan, Text, from_text, to_text
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.plan.plan import Plan
    from vtopo.plan.saved import Basis

MODE = 0o600
"""A plan has the whole lab in it, and so what is secret there."""
_MOST_BYTES = 512 << 20


def is_plan_file(path: str) -> bool:
    """Whether a saved plan is meant: its name says so, or it begins as JSON does and no lab file can."""
    if path == STDIN or path.endswith(".vlab"):
        return False
    if path.endswith(".json"):
        return True
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


@dataclass(slots=True)
class Files:
    """A reader of the files that a lab uses, which keeps their texts."""

    texts: dict[str, str]

    def read(self, path: str) -> Source:
        """As `read_module`."""
        source = read_module(path)
        self.texts[path] = source.text
        return source


def save_plan(
    path: Path, plan: Plan, lab: str, basis: Basis, settings: Mapping[str, str], texts: Mapping[str, str]
) -> None:
    """Write a plan with the `texts` it was made of, by path, the lab file's first."""
    kept = tuple(Text(name, _file(name), text) for name, text in texts.items())
    write_outfile(path, to_text(plan, SavedPlan(lab, basis, settings, kept, {}, ())), MODE)


def _file(path: str) -> str | None:
    return str(Path(path).resolve()) if Path(path).is_file() else None


def read_plan(path: str) -> SavedPlan:
    """The plan in a file; Failure if there is none, or one that this version cannot carry out."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise NotAPlan(f"it is larger than {_MOST_BYTES >> 20} MiB")
        return from_text(data.decode())
    except OSError as e:
        raise Failure(f"cannot read {path}: {os.strerror(e.errno or 0).lower()}", USAGE) from e
    except UnicodeDecodeError as e:
        raise Failure(f"{path}: it is not UTF-8 text", USAGE) from e
    except NotAPlan as e:
        raise Failure(f"{path}: {e}", USAGE) from e


def compile_saved(console: Console, path: str, saved: SavedPlan) -> tuple[Lab, Source]:
    """The lab that a plan was made of, from its own texts; Failure if one of their files says something else now."""
    for text in saved.texts:
        if text.file is not None and _now(text.file) not in (None, text.text):
            raise stale(path, saved, StalePlan(f"{text.path} was edited since"))
    first, *others = (Source(text.path, text.text) for text in saved.texts)
    return check_with(console, first, saved.settings, _from({s.path: s for s in others})), first


def _now(file: str) -> str | None:
    try:
        return read_module(file).text
    except Unreadable:
        return None


def _from(sources: Mapping[str, Source]) -> Reader:
    def read(path: str) -> Source:
        if path not in sources:
            raise Unreadable("the plan does not have it")
        return sources[path]

    return read


def stale(path: str, saved: SavedPlan, error: StalePlan) -> Failure:
    """What to say of a plan that is out of date."""
    sets = [word for name, value in saved.settings.items() for word in ("--set", f"{name}={value}")]
    again = f"`{shlex.join(['vtopo', 'plan', saved.texts[0].path, *sets, '--out', path])}` makes it anew"
    return Failure(f"{path} is stale: {error}. Nothing was touched; {again}", FAILED)
