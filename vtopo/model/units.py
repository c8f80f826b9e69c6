"""Units: what dimension each is of, and how they convert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from vtopo.lang import ast

if TYPE_CHECKING:
    from fractions import Fraction

_Size: TypeAlias = tuple[int, int]
_TABLES: Mapping[str, Mapping[str, _Size]] = {
    "size": {
        "B": (1, 1),
        **{f"{prefix}B": (1000**n, 1) for n, prefix in enumerate(("k", "M", "G", "T"), 1)},
        **{f"{prefix}iB": (1024**n, 1) for n, prefix in enumerate(("K", "M", "G", "T"), 1)},
    },
    "rate": {
        "bit": (1, 1),
        **{f"{prefix}bit": (1000**n, 1) for n, prefix in enumerate(("k", "M", "G"), 1)},
    },
    "throughput": {
        "B/s": (1, 1),
        **{f"{prefix}B/s": (1000**n, 1) for n, prefix in enumerate(("k", "M", "G"), 1)},
        **{f"{prefix}iB/s": (1024**n, 1) for n, prefix in enumerate(("K", "M", "G"), 1)},
    },
    "operations": {"iops": (1, 1)},
    "time": {"us": (1, 1_000_000), "ms": (1, 1000), "s": (1, 1), "min": (60, 1), "h": (3600, 1)},
    "share": {"%": (1, 100)},
    "frequency": {f"{prefix}Hz": (1000**n, 1) for n, prefix in enumerate(("", "k", "M", "G"))},
}

UNITS: Mapping[str, tuple[str, _Size]] = {
    unit: (dimension, size) for dimension, table in _TABLES.items() for unit, size in table.items()
}
"""Unit to its dimension and its size, as a fraction of that dimension's base unit (bytes, bits per second, seconds)."""


def exact(number: int | str | Fraction, of: int = 1) -> Fraction:
    """A number, or so many parts of `of`, as a fraction."""
    from fractions import Fraction  # late: it takes 7 ms with `decimal`, and many labs name no quantity

    return Fraction(number) / of


def size_of(unit: str) -> Fraction:
    """A unit in its dimension's base unit; KeyError for an unknown one."""
    return exact(*UNITS[unit][1])


def amount(quantity: ast.Quantity) -> Fraction:
    """The quantity in its dimension's base unit; KeyError for an unknown unit."""
    return exact(quantity.number) * size_of(quantity.unit)


def in_unit(value: Fraction, unit: str) -> str:
    """A base-unit amount as the decimal number of a unit, exact to nine digits."""
    return decimal(value / size_of(unit))


def decimal(value: Fraction) -> str:
    """A fraction as a decimal number without needless digits."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.9f}".rstrip("0").rstrip(".")
