"""Units: what dimension each is of, and how they convert."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from vtopo.lang import ast

_TABLES: Mapping[str, Mapping[str, Fraction]] = {
    "size": {
        "B": Fraction(1),
        **{f"{prefix}B": Fraction(1000**n) for n, prefix in enumerate(("k", "M", "G", "T"), 1)},
        **{f"{prefix}iB": Fraction(1024**n) for n, prefix in enumerate(("K", "M", "G", "T"), 1)},
    },
    "rate": {
        "bit": Fraction(1),
        **{f"{prefix}bit": Fraction(1000**n) for n, prefix in enumerate(("k", "M", "G"), 1)},
    },
    "throughput": {
        "B/s": Fraction(1),
        **{f"{prefix}B/s": Fraction(1000**n) for n, prefix in enumerate(("k", "M", "G"), 1)},
        **{f"{prefix}iB/s": Fraction(1024**n) for n, prefix in enumerate(("K", "M", "G"), 1)},
    },
    "operations": {"iops": Fraction(1)},
    "time": {
        "us": Fraction(1, 1_000_000),
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "min": Fraction(60),
        "h": Fraction(3600),
    },
    "share": {"%": Fraction(1, 100)},
    "frequency": {f"{prefix}Hz": Fraction(1000**n) for n, prefix in enumerate(("", "k", "M", "G"))},
}

UNITS: Mapping[str, tuple[str, Fraction]] = {
    unit: (dimension, factor) for dimension, table in _TABLES.items() for unit, factor in table.items()
}
"""Unit to its dimension and its size in that dimension's base unit (bytes, bits per second, seconds, …)."""


def amount(quantity: ast.Quantity) -> Fraction:
    """The quantity in its dimension's base unit; KeyError for an unknown unit."""
    return Fraction(quantity.number) * UNITS[quantity.unit][1]


def in_unit(value: Fraction, unit: str) -> str:
    """A base-unit amount as the decimal number of a unit, exact to nine digits."""
    return decimal(value / UNITS[unit][1])


def decimal(value: Fraction) -> str:
    """A fraction as a decimal number without needless digits."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.9f}".rstrip("0").rstrip(".")
