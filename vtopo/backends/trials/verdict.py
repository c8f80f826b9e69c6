"""What a trial came to, and how one is repeated until its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable

from vtopo.values import dataclass

PAUSE = 0.2
"""Seconds between two tries of one expectation."""
_LONGEST_SHOWN = 60
"""Characters of a command's output that a verdict shows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a claim held, and what was seen, in words; one that could not be `tried` neither holds nor fails to."""

    held: bool
    what: str
    tried: bool = True


def until(trial: Callable[[float], Seen], seconds: float) -> Seen:
    """Try again and again until the claim holds or the time is up; `trial` is told how many seconds are left."""
    end = time.monotonic() + seconds
    while True:
        seen = trial(max(0.05, end - time.monotonic()))
        if seen.held or time.monotonic() + PAUSE >= end:
            return seen
        time.sleep(PAUSE)


def end_of(output: str) -> str:
    """What a command printed last, in one line; where that is long, its last whole words."""
    line = " ".join(output.split()).strip(" :")
    if len(line) <= _LONGEST_SHOWN:
        return line or "no output"
    kept = line[-_LONGEST_SHOWN:]
    return f"… {kept.partition(' ')[2] or kept}"
