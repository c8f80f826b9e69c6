"""What a host's daemons and commands have printed, as the supervisor keeps it: two files each, at most."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtopo.backends.supervision import LOGS

_SUFFIX = ".log"
_LAST = 8192  # bytes at the end of a log that are looked at for its last lines


def path_of(node: str, name: str) -> str:
    """Where a log is below the logs' folder."""
    return f"{node}/{name}{_SUFFIX}"


class Logs:
    """The logs of one lab, in its tmpfs `folder`: of every daemon one with its name, of all commands `exec`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOGS

    def names(self, node: str) -> Sequence[str]:
        """The names of a node's logs."""
        try:
            files = os.listdir(self._folder / node)  # noqa: PTH208
        except OSError:
            return []
        return sorted({name.removesuffix(".1").removesuffix(_SUFFIX) for name in files})

    def parts(self, node: str, name: str) -> Sequence[Path]:
        """The files of a log, older first."""
        path = self._folder / path_of(node, name)
        return [part for part in (path.with_name(f"{path.name}.1"), path) if part.is_file()]

    def data(self, node: str, name: str) -> bytes:
        """All that is kept."""
        return b"".join(_read(part) for part in self.parts(node, name))

    def text(self, node: str, name: str) -> str:
        """The same, as text."""
        return self.data(node, name).decode(errors="replace")

    def last(self, node: str, count: int) -> Sequence[str]:
        """The last lines of the log of `node` that was written to last."""
        newest = max(
            (part for name in self.names(node) for part in self.parts(node, name)[-1:]),
            key=lambda part: part.stat().st_mtime,
            default=None,
        )
        if newest is None:
            return []
        return _read(newest)[-_LAST:].decode(errors="replace").splitlines()[-count:]

    def contains(self, node: str, text: str, since: dict[str, int]) -> bool:
        """Whether a line of the node's logs has `text`; `since` are sizes from which on it counts, by name."""
        wanted = text.encode()
        return any(wanted in self.data(node, name)[since.get(name, 0) :] for name in self.names(node))

    def sizes(self, node: str) -> dict[str, int]:
        """How much each of a node's logs holds now."""
        return {name: len(self.data(node, name)) for name in self.names(node)}

    def forget(self, node: str, name: str) -> None:
        """Remove a log."""
        for part in self.parts(node, name):
            with contextlib.suppress(OSError):
                part.unlink()

    def follow(self, node: str) -> Iterator[tuple[str, bytes]]:
        """New output as it comes: the log's name and a piece of it; empty pieces while there is none."""
        places = {name: _Place() for name in self.names(node)}
        for name, place in places.items():
            place.skip(self._folder / path_of(node, name))
        while True:
            quiet = True
            for name in self.names(node):
                for piece in places.setdefault(name, _Place()).read(self._folder / path_of(node, name)):
                    quiet = False
                    yield name, piece
            if quiet:
                yield "", b""


class _Place:
    """How far a log has been read, across the moment when it goes on in a new file."""

    def __init__(self) -> None:
        self.inode = 0
        self.offset = 0

    def skip(self, path: Path) -> None:
        """To its end."""
        with contextlib.suppress(OSError):
            status = path.stat()
            self.inode, self.offset = status.st_ino, status.st_size

    def read(self, path: Path) -> Iterator[bytes]:
        """What has come since."""
        for part in (path.with_name(f"{path.name}.1"), path):
            try:
                status = part.stat()
            except OSError:
                continue
            if part != path and status.st_ino != self.inode:
                continue
            if status.st_ino != self.inode:
                self.inode, self.offset = status.st_ino, 0
            if status.st_size > self.offset and (data := _read(part, self.offset)):
                self.offset += len(data)
                yield data


def _read(path: Path, offset: int = 0) -> bytes:
    try:
        with path.open("rb") as f:
            f.seek(offset)
            return f.read()
    except OSError:
        return b""
