"""One progress bar on a terminal. rich is imported with this module, so import it late."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn


class Bar:
    """A bar of `total` steps that leaves no trace when it is closed."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def say(self, text: str) -> None:
        """Show what goes on."""
        self._progress.update(self._task, description=text)

    def advance(self, finished: int) -> None:
        """Show that `finished` steps are over."""
        self._progress.update(self._task, completed=finished)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
