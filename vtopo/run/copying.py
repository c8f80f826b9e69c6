"""Tells how far the writing of files has come, by what they take on the disk meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from vtopo.backends.base import Transfer

Tell: TypeAlias = Callable[[Transfer], None]

_OFTEN = 0.2  # seconds between two looks


def silent(_: Transfer) -> None:
    """Nobody wants to know."""


@contextlib.contextmanager
def told(what: str, tell: Tell, files: Callable[[], Iterable[Path]], total: int) -> Iterator[None]:
    """While this is open, tell of `what` how much of `total` bytes is written to `files`, also at its begin and end."""
    over = threading.Event()

    def look() -> None:
        tell(Transfer(what, 0, total, False))
        while not over.wait(_OFTEN):
            tell(Transfer(what, min(written(files()), total), total, False))

    thread = threading.Thread(target=look, name="vtopo-progress")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        tell(Transfer(what, total, total, True))


def written(files: Iterable[Path]) -> int:
    """What files take, those that are there; holes take nothing."""
    count = 0
    with contextlib.suppress(OSError):
        for file in files:
            with contextlib.suppress(OSError):
                count += file.stat().st_blocks * 512
    return count
