"""The tables that are printed, as Markdown that also reads well on a terminal, and the JSON of all numbers."""

import json
from collections.abc import Iterator, Sequence

from bench.record import Contender, Figure, Record
from bench.targets import verdicts

_TIMES = (Figure.UP, Figure.DOWN)
_NOTHING = "-"
_VTOPO_ONLY = (
    Figure.NO_OP, Figure.EDIT, Figure.ADD, Figure.GONE, Figure.DRAINED, Figure.PSS, Figure.LEFT_RUNNING, Figure.CYCLES,
)  # fmt: skip


def render(record: Record, header: Sequence[str]) -> str:
    """The whole report."""
    sections = ["\n".join(header)]
    for title, head, rows in (
        (
            "Labs (medians in seconds, from the fastest to the slowest round)",
            _LABS_HEAD,
            list(_lab_rows(record)),
        ),
        (
            "vtopo alone (medians, from the smallest to the largest)",
            ["lab", *(figure.value for figure in _VTOPO_ONLY)],
            list(_vtopo_rows(record)),
        ),
        (
            "Growth of vtopo (ms per host)",
            ["lab", "up", "no-op up", "one MTU changed", "one host added", "down"],
            list(_growth_rows(record)),
        ),
        ("Compiler", ["file", "check, s", "ms per statement", "peak RSS, MiB"], list(_check_rows(record))),
        ("Numbers to reach", ["stage", "promise", "this run"], list(verdicts(record))),
    ):
        if rows:
            sections.append(f"{title}\n\n{_table(head, rows)}")
    if record.notes:
        sections.append("\n".join(f"note: {note}" for note in record.notes))
    return "\n\n".join(sections)


def to_json(record: Record, header: Sequence[str]) -> str:
    """Every measurement of every round."""
    measurements = [
        {
            "contender": m.contender.value,
            "lab": m.lab,
            "size": m.size,
            "figure": m.figure.value,
            "value": m.value,
        }
        for m in record.measurements
    ]
    return (
        json.dumps({"machine": list(header), "notes": record.notes, "measurements": measurements}, indent=1)
        + "\n"
    )


_RATIOS = tuple(
    pair
    for other in (Contender.FLOOR, Contender.MININET, Contender.MUNET, Contender.IP_BATCH)
    for pair in ([(Contender.VTOPO, other)] if other is Contender.FLOOR else [(other, Contender.VTOPO)])
)
_LABS_HEAD = (
    *("lab", "figure"),
    *(contender.value for contender in Contender),
    *(f"{over.value} / {under.value}" for over, under in _RATIOS),
)


def _labs(record: Record) -> list[tuple[str, int]]:
    """The labs that were brought up, in the order of measuring."""
    return list(
        dict.fromkeys((m.lab, m.size) for m in record.measurements if m.figure in (*_TIMES, Figure.CYCLES))
    )


def _lab_rows(record: Record) -> Iterator[list[str]]:
    for lab, size in _labs(record):
        for figure in _TIMES:
            times = [_time(record, contender, lab, size, figure) for contender in Contender]
            ratios = [record.ratio(over, under, lab, size, figure) for over, under in _RATIOS]
            yield [f"{lab} {size}", figure.value.split(",")[0], *times, *map(_number, ratios)]


def _vtopo_rows(record: Record) -> Iterator[list[str]]:
    for lab, size in _labs(record):
        values = [_time(record, Contender.VTOPO, lab, size, figure) for figure in _VTOPO_ONLY]
        if any(value != _NOTHING for value in values):
            yield [f"{lab} {size}", *values]


def _growth_rows(record: Record) -> Iterator[list[str]]:
    """What each host costs, in milliseconds: the same in every row where the growth is linear."""
    for lab, size in _labs(record):
        each = [
            record.median(Contender.VTOPO, lab, size, figure)
            for figure in (Figure.UP, Figure.NO_OP, Figure.EDIT, Figure.ADD, Figure.DOWN)
        ]
        if any(value is not None for value in each):
            shown = [_NOTHING if value is None else f"{value / size * 1000:.2f}" for value in each]
            yield [f"{lab} {size}", *shown]


def _check_rows(record: Record) -> Iterator[list[str]]:
    files = dict.fromkeys((m.lab, m.size) for m in record.measurements if m.figure is Figure.CHECK)
    for lab, size in files:
        seconds = record.median(Contender.VTOPO, lab, size, Figure.CHECK)
        assert seconds is not None
        each = f"{seconds / size * 1000:.3f}" if size > 1 else ""
        rss = record.median(Contender.VTOPO, lab, size, Figure.CHECK_RSS)
        shown = _time(record, Contender.VTOPO, lab, size, Figure.CHECK)
        yield [f"{size} {lab}" if size > 1 else lab, shown, each, f"{rss:.0f}" if rss else ""]


def _time(record: Record, contender: Contender, lab: str, size: int, figure: Figure) -> str:
    """A median with its spread, such as `2.62 (2.51–2.90)`."""
    median = record.median(contender, lab, size, figure)
    spread = record.spread(contender, lab, size, figure)
    if median is None:
        return _NOTHING
    if spread is None or spread[0] == spread[1]:
        return _number(median)
    return f"{_number(median)} ({_number(spread[0])}–{_number(spread[1])})"


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    digits = 3 if 0 < value < 0.2 else 2
    return f"{value:.{digits}f}".removesuffix(".00")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
