"""An open file: its text, its names, and what the last check of it found."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vtopo.editor.chunks import chunks
from vtopo.editor.compiled import NOTHING, Compiled
from vtopo.editor.context import Context, context
from vtopo.editor.index import Cache, Index, build
from vtopo.editor.text import Text
from vtopo.lang.diagnostics import Diagnostic
from vtopo.lang.source import MOST_BYTES


class Document:
    """One open file by its URI; `path` is its own, or the URI where it has none yet.

    `lab` is what its last text that compiled came to; `found` are the diagnostics of the last check.
    """

    def __init__(self, uri: str, path: str, text: str, version: int | None, encoding: str) -> None:
        self.uri = uri
        self.path = path
        self.lab: Compiled = NOTHING
        self.found: tuple[Diagnostic, ...] = ()
        self.reads: frozenset[str] = frozenset()
        self.published: frozenset[str] = frozenset()
        self._encoding = encoding
        self._cache = Cache()
        self.change(text, version)

    def change(self, text: str, version: int | None) -> None:
        """The text is another now."""
        self.text = Text(text, self._encoding)
        self.version = version
        self._index: Index | None = None

    async def index(self) -> Index:
        """The names of the text as it is now; others have their turn while a large one is read."""
        while self._index is None:
            text = self.text
            parts = chunks(text.text)
            for batch in self._cache.missing(parts):
                self._cache.parse(batch)
                await asyncio.sleep(0)
            if text is self.text:
                self._cache.keep(parts)
                self._index = Index(self.path, parts, self._cache)
        return self._index

    def names(self) -> Index:
        """The names of the text as it is now, at once."""
        if self._index is None:
            self._index = build(self.path, self.text.text, self._cache)
        return self._index

    async def context(self, offset: int) -> Context:
        """What stands around an offset."""
        index = await self.index()
        number = index.chunk_at(self.text.place(min(offset, len(self.text.text)))[0])
        return context(index.chunks[number] if number is not None else None, self.text.text, offset)


class Files:
    """Files of the disk that open ones use, read again when they change."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._known: dict[str, tuple[tuple[int, int], Text, Index]] = {}

    def read(self, path: str) -> tuple[Text, Index] | None:
        """The text and the names of a lab file; None if it is none that can be read."""
        file = Path(path)
        try:
            status = file.stat()
            if not file.is_file() or status.st_size > MOST_BYTES:
                return None
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                text = Text(file.read_text("utf-8-sig"), self._encoding)
                known = self._known[path] = (stamp, text, build(path, text.text, Cache()))
        except (OSError, ValueError):
            return None
        return known[1], known[2]
