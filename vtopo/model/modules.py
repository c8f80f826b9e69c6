"""Finds the files that a lab uses: parsed once each, cycles refused with their chain."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.parser import parse
from vtopo.lang.source import Range, Source, Unreadable

Reader: TypeAlias = Callable[[str], Source]
"""Reads the file of a path; Unreadable if it cannot."""

FileReader: TypeAlias = Callable[[str], bytes]
"""Reads the bytes of the file of a path; Unreadable if it cannot."""

DEEPEST = 30
"""Modules within modules beyond this depth are refused."""


def no_files(path: str) -> Source:
    """A reader for text that has no folder of its own."""
    raise Unreadable("no other file can be read here")


class Modules:
    """The files of one lab. `sources` has the text of each that was read, by path."""

    def __init__(self, reader: Reader, diagnostics: Diagnostics, files: FileReader | None = None) -> None:
        self._reader = reader
        self._files_reader = files or (lambda path: reader(path).text.encode())
        self._contents: dict[str, bytes] = {}
        self._diagnostics = diagnostics
        self._files: dict[str, ast.File | None] = {}
        self.sources: dict[str, Source] = {}

    def load(self, wanted: str, place: Range, chain: tuple[str, ...]) -> ast.File | None:
        """The tree of a file named in the last file of `chain`; None after an error was reported."""
        if not wanted or "\0" in wanted:
            self._fail(wanted, "there is no file of this name", place)
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(chain[-1]), wanted))
        if path in map(posixpath.normpath, chain):
            shown = " → ".join([*chain, path])
            self._diagnostics.add("E0311", f"a file uses itself: {shown}", place, "without end")
            return None
        if len(chain) > DEEPEST:
            self._diagnostics.add(
                "E0309", "modules are nested too deeply", place, f"more than {DEEPEST} levels"
            )
            return None
        if path not in self._files:
            self._files[path] = self._read(path, place)
        return self._files[path]

    def files(self) -> tuple[ast.File, ...]:
        """The trees of all files that were loaded."""
        return tuple(file for file in self._files.values() if file is not None)

    def bytes_of(self, path: str) -> bytes:
        """The content of a file that is not a lab's; Unreadable if there is none."""
        if path not in self._contents:
            self._contents[path] = self._files_reader(path)
        return self._contents[path]

    def show(self, path: str, text: str) -> None:
        """Diagnostics point into this text, too."""
        self.sources[path] = Source(path, text)

    def _read(self, path: str, place: Range) -> ast.File | None:
        try:
            source = self._reader(path)
        except Unreadable as e:
            self._fail(path, str(e), place)
            return None
        self.sources[path] = Source(path, source.text)
        file = parse(self.sources[path], self._diagnostics)
        self._diagnostics.expect_gaps()
        return file

    def _fail(self, path: str, why: str, place: Range) -> None:
        self._diagnostics.add(
            "E0701",
            f"cannot read `{path}`",
            place,
            why,
            help="a path is relative to the file that it stands in",
        )
