"""Which vtopo this is, down to its last edit: what one has found out and kept need not hold for another."""

from __future__ import annotations

import os
from pathlib import Path

import vtopo
from vtopo.lang.grammar import grammar_file


def this_one() -> str:
    """Its version, and when the last of its modules was written, in ns: who works on it is not to be told of
    yesterday's."""
    return f"{vtopo.__version__} {_newest(Path(vtopo.__file__).parent)}"


def _newest(folder: Path) -> int:
    newest = 0
    for top, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        for name in names:
            newest = max(newest, os.stat(f"{top}/{name}").st_mtime_ns)  # noqa: PTH116
    return max(newest, grammar_file().stat().st_mtime_ns)
