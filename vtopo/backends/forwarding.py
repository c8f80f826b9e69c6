"""Hands the signals that this process gets to whatever runs for it elsewhere, for as long as that does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@contextlib.contextmanager
def forwarded(send: Callable[[int], None], signals: Sequence[int] = _FORWARDED) -> Iterator[None]:
    """Call `send` with the number of each signal, in place of what it would do here; in one thread, in turn.

    What is ignored here (nohup(1)) goes on being so.

    Of what comes more than once while `send` is under way, it is called with one.

    A handler in Python runs only between two instructions of the main thread, and one that is due just before a
    blocking call would wait for its end; so the handler in C tells it through a pipe, signal.set_wakeup_fd.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(theirs, False)

    def listen() -> None:
        while numbers := os.read(ours, 64):
            for number in dict.fromkeys(numbers):
                if number in signals:
                    send(number)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    former = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    heard = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former)
        os.close(theirs)
        listener.join()
        os.close(ours)
