"""Waits for a child that stands in for this process: the signals that come meanwhile are for it.

They are held back and taken one by one, never caught: a handler in Python that is due just before wait4(2) begins
would run only after it, and the signal would be as good as lost.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # what makes enums of its numbers takes as long to load as all else of a small command

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


class Held:
    """The signals that are passed on, held back from its making until `release`, so that none is lost before the wait.

    A child that is made meanwhile has them blocked; `mask` is what was blocked before.
    """

    def __init__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, signal.SIGCHLD))
        # Where the caller had it ignored, no child's end would be told, nor its status kept; wait(2).
        self._sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def release(self) -> None:
        """As before; what is still held arrives now."""
        signal.signal(signal.SIGCHLD, self._sigchld)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def wait(self, pid: int, send: Callable[[int], object]) -> int:
        """The wait status of the child `pid`; `send` gets the number of each signal that comes until it ends."""
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            number = signal.sigwait((*PASSED_ON, signal.SIGCHLD))
            if number != signal.SIGCHLD:
                send(number)
