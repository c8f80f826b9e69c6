"""Turns SIGINT and SIGTERM into a wish to stop, so that a run ends between two steps and never inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        """Asks the run to stop at the next step."""
        self.asked = True

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.ask()


@contextlib.contextmanager
def deferred() -> Iterator[Interrupts]:
    """Catches SIGINT and SIGTERM while a run goes on; outside the main thread it catches nothing."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {s: signal.signal(s, interrupts._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
