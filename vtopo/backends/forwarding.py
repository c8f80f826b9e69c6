"""Hands the signals that this process gets to whatever runs for it elsewhere, for as long as that does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@contextlib.contextmanager
def forwarded(send: Callable[[int], None]) -> Iterator[None]:
    """Call `send` with the number of each signal, in place of what it would do here."""
    before = {number: signal.signal(number, lambda number, _: send(number)) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
