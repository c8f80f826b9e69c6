"""What the server has done beside itself, and what comes back: plain data that passes between two processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from vtopo.editor.compiled import Compiled
from vtopo.lang.diagnostics import Diagnostic
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """Compile a text; `open` are the texts of other open files, which stand for what is on the disk, by path."""

    path: str
    text: str
    open: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Checked:
    """All diagnostics, how many more there are, what it compiled to if it did, and the paths of all files read."""

    diagnostics: tuple[Diagnostic, ...]
    dropped: int
    lab: Compiled | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Format:
    """Lay a text out."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Formatted:
    """The canonical text; None, with the reason, where there is none."""

    text: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that did not end well."""

    why: str


Job: TypeAlias = Check | Format
Outcome: TypeAlias = Checked | Formatted | Failed
