"""The numbers to reach, and whether this run reached them: reported, never a failure of the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.record import Contender, Figure, Record

_BIG, _SMALL = 1000, 100


@dataclass(frozen=True)
class Target:
    """One promise: a number drawn from the record and the most (or the least) that it may be."""

    text: str
    limit: float
    value: Callable[[Record], float | None]
    at_least: bool = False

    def verdict(self, record: Record) -> str:
        """PASS, over, or that the number was not measured in this run."""
        value = self.value(record)
        if value is None:
            return "not measured"
        reached = value >= self.limit if self.at_least else value <= self.limit
        return f"{'PASS' if reached else 'over'} {value:.2f}"


def _ring(figure: Figure, size: int = _BIG) -> Callable[[Record], float | None]:
    return lambda record: record.median(Contender.VTOPO, "ring", size, figure)


def _worst_ring(figure: Figure) -> Callable[[Record], float | None]:
    return lambda record: record.worst(Contender.VTOPO, "ring", _BIG, figure)


def _up_ratio(over: Contender, under: Contender) -> Callable[[Record], float | None]:
    return lambda record: record.ratio(over, under, "ring", _BIG, Figure.UP)


def _check(statements: int, figure: Figure) -> Callable[[Record], float | None]:
    return lambda record: record.median(Contender.VTOPO, "statements", statements, figure)


def _quickstart(record: Record) -> float | None:
    return record.median(Contender.VTOPO, "quickstart", 1, Figure.CHECK)


def _check_growth(record: Record) -> float | None:
    few, many = (record.median(Contender.VTOPO, "statements", n, Figure.CHECK) for n in (3000, 30_000))
    return many / 30_000 / (few / 3000) if few and many else None


def _growth(record: Record) -> float | None:
    small, large = (record.median(Contender.VTOPO, "ring", size, Figure.UP) for size in (300, 3000))
    return large / 3000 / (small / 300) if small and large else None


def _tried(record: Record) -> float | None:
    return record.median(Contender.VTOPO, "pairs", 1104, Figure.TEST)


def _rated(record: Record) -> float | None:
    plain, rated = (_ring(figure)(record) for figure in (Figure.UP, Figure.UP_RATED))
    return rated / plain if plain and rated else None


_FLOOR_TIMES = _up_ratio(Contender.VTOPO, Contender.FLOOR)
_FASTER_THAN_MININET = _up_ratio(Contender.MININET, Contender.VTOPO)

FIRST_LIGHT = (
    Target("ring 1000 up: times the floor, at most 3", 3, _FLOOR_TIMES),
    Target("ring 1000 up: times faster than Mininet, at least 4", 4, _FASTER_THAN_MININET, at_least=True),
    Target("ring 1000 down returns within 1.5 s", 1.5, _ring(Figure.DOWN)),
    Target("ring 1000: nothing left 10 s after down, every time", 10, _worst_ring(Figure.GONE)),
    Target("ring 1000: up right after down, failures", 0, _worst_ring(Figure.CYCLES)),
    Target("ring 1000: no-op up within 1.5 s", 1.5, _ring(Figure.NO_OP)),
    Target("ring 1000: PSS per idle host at most 2 MiB", 2, _ring(Figure.PSS)),
    Target("ring 1000: processes left running besides the inits", 0, _worst_ring(Figure.LEFT_RUNNING)),
    Target("check of the quickstart, cold, within 0.3 s", 0.3, _quickstart),
)
LANGUAGE = (
    Target("check of 10,000 statements within 2.5 s", 2.5, _check(10_000, Figure.CHECK)),
    Target("check of 10,000 statements in at most 400 MiB", 400, _check(10_000, Figure.CHECK_RSS)),
    Target("check of 500 hosts and 500 links within 0.5 s", 0.5, _check(1000, Figure.CHECK)),
    Target("check: cost per statement at 30,000, times that at 3000, at most 1.2", 1.2, _check_growth),
    Target("check of the quickstart, cold, within 0.25 s", 0.25, _quickstart),
)
A_THOUSAND_NODES = (
    Target("ring 1000 up: times the floor, at most 2", 2, _FLOOR_TIMES),
    Target("ring 1000 up: times faster than Mininet, at least 5", 5, _FASTER_THAN_MININET, at_least=True),
    Target("ring 1000 down returns within 1 s", 1, _ring(Figure.DOWN)),
    Target("ring 1000: no-op up within 0.8 s", 0.8, _ring(Figure.NO_OP)),
    Target("ring 1000: one link's MTU changed within 0.6 s", 0.6, _ring(Figure.EDIT)),
    Target("ring 1000: one host and its link added within 0.7 s", 0.7, _ring(Figure.ADD)),
    Target("ring 100 up within 0.6 s", 0.6, _ring(Figure.UP, _SMALL)),
    Target("ring up: cost per host at 3000, times that at 300, at most 1.2", 1.2, _growth),
)
LINKS_IN_FULL = (
    Target("ring 1000 up with a rate on every link: times without, at most 1.4", 1.4, _rated),
    Target("test of 1,104 expectations within 20 s", 20, _tried),
)
STAGES = (
    ("first light", FIRST_LIGHT),
    ("the whole language", LANGUAGE),
    ("a thousand nodes in seconds", A_THOUSAND_NODES),
    ("links in full", LINKS_IN_FULL),
)


def verdicts(record: Record) -> Iterator[tuple[str, str, str]]:
    """Stage, promise and verdict, in order."""
    for stage, targets in STAGES:
        for target in targets:
            yield stage, target.text, target.verdict(record)
