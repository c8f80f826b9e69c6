"""What was measured: flat records, and the medians and ratios that are drawn from them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from statistics import median


class Contender(Enum):
    """Who made the lab."""

    FLOOR = "floor"
    VTOPO = "vtopo"
    MININET = "Mininet"
    MUNET = "munet"
    IP_BATCH = "ip -batch"


class Figure(Enum):
    """What a number says, with its unit."""

    UP = "up, s"
    NO_OP = "no-op up, s"
    EDIT = "one MTU changed, s"
    ADD = "one host added, s"
    DOWN = "down, s"
    GONE = "nothing left, s after down"
    DRAINED = "kernel done, s after down"
    PSS = "PSS per idle host, MiB"
    LEFT_RUNNING = "processes besides inits"
    CYCLES = "up right after down, failures"
    UP_RATED = "up with a rate on every link, s"
    TEST = "test of expectations, s"
    CHECK = "check, s"
    CHECK_RSS = "check, peak RSS MiB"


@dataclass(frozen=True)
class Measurement:
    """One number of one round. `lab` is a shape's name, or a file's; `size` counts hosts or statements."""

    contender: Contender
    lab: str
    size: int
    figure: Figure
    value: float


@dataclass
class Record:
    """Everything measured in this run, and what could not be."""

    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Keep one round's numbers."""
        self.measurements.extend(measurements)

    def note(self, text: str) -> None:
        """Keep what a reader of the numbers has to know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def values(self, contender: Contender, lab: str, size: int, figure: Figure) -> list[float]:
        """All rounds of one number, in order."""
        wanted = (contender, lab, size, figure)
        return [m.value for m in self.measurements if (m.contender, m.lab, m.size, m.figure) == wanted]

    def median(self, contender: Contender, lab: str, size: int, figure: Figure) -> float | None:
        """The median over the rounds, or None if it was never measured."""
        values = self.values(contender, lab, size, figure)
        return median(values) if values else None

    def worst(self, contender: Contender, lab: str, size: int, figure: Figure) -> float | None:
        """The largest over the rounds, for promises that hold every time."""
        return max(self.values(contender, lab, size, figure), default=None)

    def spread(self, contender: Contender, lab: str, size: int, figure: Figure) -> tuple[float, float] | None:
        """The smallest and the largest over the rounds, where there was more than one."""
        values = self.values(contender, lab, size, figure)
        return (min(values), max(values)) if len(values) > 1 else None

    def ratio(self, over: Contender, under: Contender, lab: str, size: int, figure: Figure) -> float | None:
        """How many times longer `over` took than `under`: the median of the rounds, each by itself.

        The machine may be busier in one round than in another; the two of one round stand close together.
        """
        above, below = self.values(over, lab, size, figure), self.values(under, lab, size, figure)
        pairs = [a / b for a, b in zip(above, below, strict=False) if b]
        return median(pairs) if pairs else None
