"""Whether a lab is asked for just as it was made: then what it would compile to is what is recorded, and need not be.

What was compiled is a function of the texts that were read, of the params and of vtopo itself; their digests are
kept beside the records which came of them, with the stamp that every change of these makes anew.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vtopo
from vtopo.cli.reading import read_bytes, read_module
from vtopo.digests import sha256
from vtopo.lang.grammar import grammar_file
from vtopo.lang.source import Source, Unreadable
from vtopo.run.early import EarlyLook
from vtopo.state.folder import StateDir, StateError
from vtopo.state.store import Store


class Reading:
    """Reads for the compiler, and notes what it has read."""

    def __init__(self, source: Source, settings: Mapping[str, str]) -> None:
        self._modules: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self.inputs: dict[str, Any] = {
            "vtopo": f"{vtopo.__version__} {_newest(Path(vtopo.__file__).parent)}",
            "cwd": str(Path.cwd()),
            "file": source.path,
            "text": _digest(source.text.encode("utf-8", "surrogatepass")),
            "settings": dict(settings),
            "modules": self._modules,
            "files": self._files,
        }
        """All that the compiler has gone by so far; texts by their digests."""

    def module(self, path: str) -> Source:
        """A file that the lab uses."""
        source = read_module(path)
        self._modules[path] = _digest(source.text.encode("utf-8", "surrogatepass"))
        return source

    def file(self, path: str) -> bytes:
        """A file that the lab puts into a node."""
        data = read_bytes(path)
        self._files[path] = _digest(data)
        return data

    def made_of(self, records: str) -> str:
        """What is to be kept beside records of this stamp, which came of what was read."""
        return json.dumps({"inputs": self.inputs, "records": records})


def is_as_made(early: EarlyLook, state: StateDir, source: Source, settings: Mapping[str, str]) -> bool:
    """Whether the lab of `early` was made of just this, its records are still those, and all of them is there."""
    try:
        with Store.open(state, early.lab) as store:
            kept = store.made_of()
    except (OSError, StateError):
        return False
    if not kept:
        return False
    made_of = json.loads(kept)
    again = Reading(source, settings)
    try:
        inputs = made_of["inputs"]
        for path in inputs["modules"]:
            again.module(path)
        for path in inputs["files"]:
            again.file(path)
    except (KeyError, Unreadable):  # another version keeps other things
        return False
    return again.inputs == inputs and early.is_as_recorded(made_of["records"])


@functools.cache
def _newest(folder: Path) -> int:
    """When the last of a package's modules was written, in ns: who works on vtopo is not to be told of yesterday's."""
    newest = 0
    for top, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        for name in names:
            newest = max(newest, os.stat(f"{top}/{name}").st_mtime_ns)  # noqa: PTH116
    return max(newest, grammar_file().stat().st_mtime_ns)


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
