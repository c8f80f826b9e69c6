"""How a command ends: its exit statuses, and the failure that carries one."""

from __future__ import annotations

DONE = 0
FAILED = 1
USAGE = 2
CHANGES = 3
INTERRUPTED = 130


class Failure(Exception):
    """A command's end other than success; `text` says what happened and what to do, empty if it was said already."""

    def __init__(self, text: str, status: int = FAILED, color: bool | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.color = color
