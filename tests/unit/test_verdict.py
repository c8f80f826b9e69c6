"""What is told of an expectation that was tried again and again."""

from collections.abc import Callable, Iterator

import pytest

from vtopo.backends.trials import verdict
from vtopo.backends.trials.verdict import PAUSE, Seen, of_command, until

TWICE = 1.5 * PAUSE


class Clock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "time", Clock())


def tries(*seen: Seen) -> Callable[[float], Seen]:
    left: Iterator[Seen] = iter(seen)
    return lambda _seconds: next(left)


def test_a_try_that_was_cut_short_hides_none_that_was_not() -> None:
    whole, cut = of_command(0, "something else\n", "wanted"), of_command(124, "", "wanted")
    assert until(tries(whole, cut), TWICE).what == "something else"
    assert until(tries(cut, whole), TWICE).what == "something else"
    assert until(tries(cut, cut), TWICE).what == "exit status 124: no output"


def test_what_held_is_told() -> None:
    held = of_command(0, "all is wanted\n", "wanted")
    assert until(tries(of_command(3, "no\n", None), held), TWICE) == held
