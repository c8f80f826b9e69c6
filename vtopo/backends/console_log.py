"""What a guest has said on its serial console, as virtlogd keeps it: the newest file, and older ones with numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtopo.backends.diskfolder import DiskFolder
from vtopo.backends.logs import Logs
from vtopo.compile.domain_names import console_log

CONSOLE = "console"
"""The name of a VM's only log."""

_OLDER = range(9, -1, -1)  # virtlogd.conf(5), max_backups: three, unless somebody wants more
_END = 1 << 14  # bytes that are looked at for the last lines
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]|[\x00-\x08\x0b-\x1f\x7f]")
"""What moves a terminal's cursor or colours it (ECMA-48)."""


class ConsoleLog:
    """The console's log of one VM, at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """Whether the guest was ever started."""
        return self._path.is_file()

    def data(self) -> bytes:
        """All that is kept, older first."""
        older = (self._path.with_name(f"{self._path.name}.{n}") for n in _OLDER)
        return b"".join(map(_read, (*older, self._path)))

    def contains(self, text: str) -> bool:
        """Whether the guest has said `text` since its start."""
        return text.encode() in self.data()

    def last(self, count: int) -> list[str]:
        """The last lines that are not empty, as they read on paper."""
        text = _CONTROL.sub("", self.data()[-_END:].decode(errors="replace").replace("\r", ""))
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]

    def follow(self) -> Iterator[bytes]:
        """What comes from now on, an empty piece while nothing does; also once the guest is started anew."""
        inode, offset = self._now()
        while True:
            number, size = self._now()
            if number != inode or size < offset:
                inode, offset = number, 0
            piece = _read(self._path, offset)
            offset += len(piece)
            yield piece

    def _now(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return 0, 0
        return status.st_ino, status.st_size


class GuestLogs(Logs):
    """The logs of the VMs of one lab: of each what its guest has said."""

    def __init__(self, lab: str, folder: Path) -> None:
        super().__init__(folder)
        self._disks = DiskFolder(lab)

    def names(self, node: str) -> Sequence[str]:
        """The console alone."""
        return [CONSOLE]

    def data(self, node: str, name: str) -> bytes:
        """All that is kept."""
        return self._log(node).data()

    def follow(self, node: str) -> Iterator[tuple[str, bytes]]:
        """What the guest says from now on; empty pieces while it says nothing."""
        return ((CONSOLE, piece) for piece in self._log(node).follow())

    def _log(self, node: str) -> ConsoleLog:
        return ConsoleLog(self._disks.file(console_log(node)))


def _read(path: Path, offset: int = 0) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""
