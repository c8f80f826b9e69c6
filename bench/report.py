"""The tables that are printed, as Markdown that also reads well on a terminal, and the JSON of all numbers."""

import json
from collections.abc import Iterator, Sequence

from bench.record import Contender, Figure, Record
from bench.targets import verdicts

_TIMES = (Figure.UP, Figure.DOWN)
_VTOPO_ONLY = (Figure.NO_OP, Figure.GONE, Figure.DRAINED, Figure.PSS, Figure.LEFT_RUNNING, Figure.CYCLES)


def render(record: Record, header: Sequence[str]) -> str:
    """The whole report."""
    sections = ["\n".join(header)]
    for title, head, rows in (
        ("Labs (medians in seconds)", _LABS_HEAD, list(_lab_rows(record))),
        (
            "vtopo alone (medians)",
            ["lab", *(figure.value for figure in _VTOPO_ONLY)],
            list(_vtopo_rows(record)),
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


_LABS_HEAD = (
    *("lab", "figure", "floor", "vtopo", "Mininet"),
    *("vtopo / floor", "Mininet / floor", "Mininet / vtopo"),
)
_RATIOS = (
    (Contender.VTOPO, Contender.FLOOR),
    (Contender.MININET, Contender.FLOOR),
    (Contender.MININET, Contender.VTOPO),
)


def _labs(record: Record) -> list[tuple[str, int]]:
    """The labs that were brought up, in the order of measuring."""
    return list(
        dict.fromkeys((m.lab, m.size) for m in record.measurements if m.figure in (*_TIMES, Figure.CYCLES))
    )


def _lab_rows(record: Record) -> Iterator[list[str]]:
    for lab, size in _labs(record):
        for figure in _TIMES:
            times = [record.median(contender, lab, size, figure) for contender in Contender]
            ratios = [record.ratio(over, under, lab, size, figure) for over, under in _RATIOS]
            yield [f"{lab} {size}", figure.value.split(",")[0], *map(_seconds, times), *map(_number, ratios)]


def _vtopo_rows(record: Record) -> Iterator[list[str]]:
    for lab, size in _labs(record):
        values = [record.median(Contender.VTOPO, lab, size, figure) for figure in _VTOPO_ONLY]
        if any(value is not None for value in values):
            yield [f"{lab} {size}", *map(_number, values)]


def _check_rows(record: Record) -> Iterator[list[str]]:
    files = dict.fromkeys((m.lab, m.size) for m in record.measurements if m.figure is Figure.CHECK)
    for lab, size in files:
        seconds = record.median(Contender.VTOPO, lab, size, Figure.CHECK)
        assert seconds is not None
        each = f"{seconds / size * 1000:.3f}" if size > 1 else ""
        rss = record.median(Contender.VTOPO, lab, size, Figure.CHECK_RSS)
        yield [f"{size} {lab}" if size > 1 else lab, _seconds(seconds), each, f"{rss:.0f}" if rss else ""]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".removesuffix(".00")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
