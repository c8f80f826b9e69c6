"""Calls to slow backends, each in a thread of its own beside the run's loop, which alone writes records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from vtopo.backends.base import Outcome
from vtopo.values import dataclass

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Ended(Generic[K]):
    """A call that is over: its outcomes, and what it raised."""

    key: K
    outcomes: tuple[Outcome, ...]
    error: BaseException | None

    def replay(self) -> Iterator[Outcome]:
        """What the call would have yielded and raised in the loop itself."""
        yield from self.outcomes
        if self.error is not None:
            raise self.error


class Beside(Generic[K]):
    """Calls under way, told apart by their keys."""

    def __init__(self) -> None:
        self._ended: SimpleQueue[Ended[K]] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._out = 0

    def __len__(self) -> int:
        """How many are under way, or over and not yet fetched."""
        return self._out

    def start(self, key: K, call: Callable[[], Iterable[Outcome]]) -> None:
        """Begins a call in a thread."""

        def run() -> None:
            outcomes: list[Outcome] = []
            error: BaseException | None = None
            try:
                for outcome in call():
                    outcomes.append(outcome)
            except BaseException as e:
                error = e
            self._ended.put(Ended(key, tuple(outcomes), error))

        thread = threading.Thread(target=run, name="vtopo-beside")
        self._threads = {t for t in self._threads if t.is_alive()} | {thread}
        self._out += 1
        thread.start()

    def ended(self, timeout: float = 0) -> list[Ended[K]]:
        """The calls that are over; waits up to `timeout` seconds for the first."""
        found: list[Ended[K]] = []
        try:
            while True:
                found.append(self._ended.get(timeout=timeout) if timeout else self._ended.get_nowait())
                timeout = 0
        except Empty:
            self._out -= len(found)
            return found

    def join(self) -> None:
        """Waits until no call is under way any more, whatever came of it."""
        for thread in self._threads:
            thread.join()
