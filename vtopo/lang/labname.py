"""A lab's name from its text, before it is parsed: for starting things early, and for `down` on a broken file."""

from __future__ import annotations

import re
from pathlib import PurePath

_STATEMENT = re.compile(r"^[ \t]*lab[ \t]+([A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*)", re.MULTILINE)


def from_path(path: str) -> str:
    """The name of a lab that has no `lab` statement: the stem of its file, made a name."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", PurePath(path).stem).strip("-")
    return re.sub(r"^(?=[0-9])", "_", stem) or "lab"


def guess(text: str, path: str) -> str:
    """What the parser will very probably find; the caller checks it against what it did find."""
    match = _STATEMENT.search(text)
    return match[1] if match is not None else from_path(path)
