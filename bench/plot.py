"""The growth of `up` as an SVG picture: a line per contender, both axes logarithmic."""

import math
from collections.abc import Iterator

from bench.record import Contender, Figure, Record

_WIDTH, _HEIGHT = 720, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 120, 30, 50
_COLOURS = {
    Contender.FLOOR: "#888888",
    Contender.VTOPO: "#0b6e4f",
    Contender.MININET: "#c44900",
    Contender.MUNET: "#7b2d8b",
    Contender.IP_BATCH: "#2266cc",
}


class _Axis:
    """Maps values to places between two ends, by their logarithms."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self._low = math.log10(min(values))
        self._span = (math.log10(max(values)) - self._low) or 1.0
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self._low) / self._span
        return round(self._start + part * (self._end - self._start), 1)


def plot(record: Record, lab: str) -> str:
    """The picture of one shape of labs, from the medians of all that was measured."""
    lines = {who: points for who in Contender if (points := list(_points(record, who, lab)))}
    sizes = sorted({size for points in lines.values() for size, _ in points})
    times = [seconds for points in lines.values() for _, seconds in points]
    ticks = [
        10.0**power
        for power in range(math.floor(math.log10(min(times))), 1 + math.ceil(math.log10(max(times))))
    ]
    x = _Axis([float(size) for size in sizes], _LEFT, _WIDTH - _RIGHT)
    y = _Axis(ticks, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_grid(x, y, sizes, ticks),
    ]
    for who, points in lines.items():
        parts += _line(x, y, who, points)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _points(record: Record, who: Contender, lab: str) -> Iterator[tuple[int, float]]:
    for size in sorted({m.size for m in record.measurements if m.lab == lab}):
        seconds = record.median(who, lab, size, Figure.UP)
        if seconds:
            yield size, seconds


def _grid(x: _Axis, y: _Axis, sizes: list[int], ticks: list[float]) -> Iterator[str]:
    for size in sizes:
        yield f'<path d="M{x(size)} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#e4e4e4"/>'
        yield f'<text x="{x(size)}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{size}</text>'
    for seconds in ticks:
        yield f'<path d="M{_LEFT} {y(seconds)}H{_WIDTH - _RIGHT}" stroke="#e4e4e4"/>'
        yield f'<text x="{_LEFT - 8}" y="{y(seconds) + 4}" text-anchor="end">{seconds:g} s</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">hosts in a ring, as many links</text>'
    yield f'<text x="{_LEFT}" y="{_TOP - 10}">time until the lab is up</text>'


def _line(x: _Axis, y: _Axis, who: Contender, points: list[tuple[int, float]]) -> Iterator[str]:
    colour = _COLOURS[who]
    path = " ".join(f"{x(size)},{y(seconds)}" for size, seconds in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for size, seconds in points:
        yield f'<circle cx="{x(size)}" cy="{y(seconds)}" r="3.5" fill="{colour}"/>'
    size, seconds = points[-1]
    yield f'<text x="{x(size) + 8}" y="{y(seconds) + 4}" fill="{colour}">{who.value}</text>'
