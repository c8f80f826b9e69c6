"""What a trial came to, and how one is repeated until its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable

from vtopo.values import dataclass

PAUSE = 0.2
"""Seconds between two tries of one expectation."""
TIMED_OUT = 124
"""The exit status of a command whose time was up, as timeout(1) says it."""
_LONGEST_SHOWN = 60
"""Characters of a command's output that a verdict shows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a claim held, and what was seen, in words; one that could not be `tried` neither holds nor fails to.

    What was `cut` short, since its time was up, tells less than an earlier try that was not.
    """

    held: bool
    what: str
    tried: bool = True
    cut: bool = False


def until(trial: Callable[[float], Seen], seconds: float) -> Seen:
    """Try again and again until the claim holds or the time is up; `trial` is told how many seconds are left."""
    end = time.monotonic() + seconds
    whole: Seen | None = None
    while True:
        seen = trial(max(0.05, end - time.monotonic()))
        if not seen.cut:
            whole = seen
        if seen.held or time.monotonic() + PAUSE >= end:
            return whole or seen
        time.sleep(PAUSE)


def of_command(status: int, output: str, prints: str | None) -> Seen:
    """What a command came to that is to succeed, and to print a text."""
    last = end_of(output)
    if status != 0:
        return Seen(False, f"exit status {status}: {last}", cut=status == TIMED_OUT)
    return Seen(prints is None or prints in output, last)


def end_of(output: str) -> str:
    """What a command printed last, in one line; where that is long, its last whole words."""
    line = " ".join(output.split()).strip(" :")
    if len(line) <= _LONGEST_SHOWN:
        return line or "no output"
    kept = line[-_LONGEST_SHOWN:]
    return f"… {kept.partition(' ')[2] or kept}"
