"""Progress bars on a terminal. rich is imported with this module, so import it late."""

from __future__ import annotations

import contextlib

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from vtopo.backends.base import Transfer


class Bar:
    """A bar of `total` steps, if there are any to show, and one of each transfer; they leave no trace when closed."""

    def __init__(self, total: int = 0) -> None:
        columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total, visible=total > 0)
        self._transfers: dict[str, TaskID] = {}
        self._progress.start()

    def say(self, text: str) -> None:
        """Show what goes on."""
        self._progress.update(self._task, description=text)

    def advance(self, finished: int) -> None:
        """Show that `finished` steps are over."""
        self._progress.update(self._task, completed=finished)

    def transfer(self, transfer: Transfer) -> None:
        """Show how far a transfer has come."""
        task = self._transfers.get(transfer.what)
        if task is None:
            task = self._transfers[transfer.what] = self._progress.add_task(transfer.what, total=None)
        self._progress.update(task, completed=transfer.done, total=transfer.total or None)
        if transfer.finished:
            self._progress.remove_task(self._transfers.pop(transfer.what))

    def close(self) -> None:
        """Take the bars away, if the terminal is still there."""
        with contextlib.suppress(OSError):
            self._progress.stop()
