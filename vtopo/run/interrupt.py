"""Turns SIGINT, SIGTERM and SIGHUP into a wish to stop, so that a run ends between two steps and never inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which people, service managers and terminals that go away end a command."""


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
    """Catches the STOPPING signals while a run goes on, but for those that nohup(1) and the like have ignored.

    Outside the main thread it catches nothing.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    caught = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupts._on_signal) for number in caught}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
