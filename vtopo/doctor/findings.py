"""What the doctor finds: one fact about the machine, what it means for labs, and the command that mends it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from vtopo.values import dataclass


class Health(Enum):
    """How a fact stands: as it should, worth knowing, or something that labs cannot have."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is what there is, `meaning` what it means for labs, `mend` the command that changes it; never run by us.

    `name` is the fact's own, for scripts: it does not change.
    """

    name: str
    title: str
    health: Health
    found: str
    meaning: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Root:
    """The machine's /proc, /sys, /dev and so on, or a tree like it."""

    path: Path = Path("/")

    def read(self, file: str) -> str | None:
        """The text of a file without its last newline; None if it cannot be read."""
        try:
            return (self.path / file.lstrip("/")).read_text(errors="replace").rstrip("\n")
        except OSError:
            return None

    def number(self, file: str) -> int | None:
        """The number in a file."""
        text = self.read(file)
        return int(text) if text is not None and text.strip().lstrip("-").isdigit() else None

    def exists(self, file: str) -> bool:
        """Whether there is such a file or folder."""
        return (self.path / file.lstrip("/")).exists()

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing if there is none."""
        try:
            return sorted(entry.name for entry in (self.path / folder.lstrip("/")).iterdir())
        except OSError:
            return []

    @property
    def is_machine(self) -> bool:
        """Whether it is the machine itself, which can be asked."""
        return self.path == Path("/")
