"""What becomes of the packets that an interface sends: how fast, how late, and how many of them."""

from __future__ import annotations

from collections.abc import Iterator

from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """A rate (tc-tbf(8)) and what happens on the way (tc-netem(8)).

    `rate` is in bit/s, a multiple of 8, as the kernel counts bytes; `burst` in bytes, with headers: what may pass at
    once. Times in µs, shares in millionths. A rate of 0 is no limit.
    """

    rate: int = 0
    burst: int = 0
    delay: int = 0
    jitter: int = 0
    loss: int = 0
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0

    @property
    def needs_netem(self) -> bool:
        """Whether it is more than a rate."""
        return any((self.delay, self.jitter, self.loss, self.duplicate, self.corrupt, self.reorder))

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.rate:
            yield f"rate {_scaled(self.rate, ('bit', 'kbit', 'Mbit', 'Gbit'))} burst {self.burst}B"
        for name in ("delay", "jitter"):
            if time := getattr(self, name):
                yield f"{name} {_scaled(time, ('us', 'ms', 's'))}"
        for name in ("loss", "duplicate", "corrupt", "reorder"):
            if share := getattr(self, name):
                yield f"{name} {share / 10_000:g}%"


def _scaled(value: int, units: tuple[str, ...]) -> str:
    """In the largest unit that leaves nothing after the point."""
    for unit in units[:-1]:
        if value % 1000:
            return f"{value}{unit}"
        value //= 1000
    return f"{value}{units[-1]}"
