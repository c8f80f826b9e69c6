"""Sizes, times and numbers of other tools as values of the language."""

from __future__ import annotations

import re
from fractions import Fraction

from vtopo.model.schema import SCHEMA, Place, Type
from vtopo.model.schema.types import Property
from vtopo.model.values import shown

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?) ?([kmgtp]?)(i?)(b?)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{0,12}(?:\.\d{1,20})?")
_TIMES: dict[str, int | Fraction] = {
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1000,
    "us": 1,
    "µs": 1,
    "ns": Fraction(1, 1000),
}
_UNITS = (
    *(("TiB", 1 << 40), ("TB", 10**12), ("GiB", 1 << 30), ("GB", 10**9), ("MiB", 1 << 20)),
    *(("MB", 10**6), ("KiB", 1 << 10), ("kB", 10**3), ("B", 1)),
)
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,9})?(?:h|ms|us|µs|ns|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


def size(text: str, *, decimal: bool = False) -> int | None:
    """Bytes of a size such as 512m; a thousand or 1024 to the k, as `decimal` says (`ki` is always 1024)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, prefix, binary, _ = match.groups()
    base = 1000 if decimal and not binary else 1024
    return round(Fraction(number) * Fraction(base) ** " kmgtp".index(prefix.lower() or " "))


def microseconds(text: str, *, bare: int | None = None) -> int | None:
    """A Go duration such as 1m30s; a number alone counts `bare` microseconds."""
    text = text.strip()
    if bare is not None and text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) * bare
    if not _DURATION.fullmatch(text):
        return None
    return round(sum(Fraction(number) * _TIMES[unit] for number, unit in _PART.findall(text)))


def thousandths(text: str) -> int | None:
    """A decimal number in thousandths, at least one if it is not nothing."""
    text = text.strip()
    if not text or not _NUMBER.fullmatch(text) or text == ".":
        return None
    number = Fraction(f"0{text}")
    return max(1, round(number * 1000)) if number else 0


def whole(text: str) -> int | None:
    """A whole number."""
    text = text.strip().replace("_", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def value(name: str, amount: int) -> str | None:
    """What a container's property says of an amount in its unit; None if it is out of its bounds."""
    return bounded(SCHEMA[Place.CONTAINER][name], amount)


def size_text(amount: int) -> str:
    """Bytes in the largest unit that they are whole in."""
    return next(f"{amount // each}{unit}" for unit, each in _UNITS if amount % each == 0)


def rate_text(amount: int) -> str:
    """Bytes per second; the largest unit is that of a GiB."""
    units = (each for each in _UNITS if not each[0].startswith("T"))
    return next(f"{amount // each}{unit}/s" for unit, each in units if amount % each == 0)


def bounded(prop: Property, amount: int) -> str | None:
    """The same of any property with one value."""
    slot = prop.slot
    assert slot is not None
    if amount < (slot.least or 0) or (slot.most is not None and amount > slot.most):
        return None
    if slot.types[0] is Type.NUMBER:
        return f"{Fraction(amount, 1000)}" if amount % 1000 == 0 else f"{amount / 1000:.3f}".rstrip("0")
    if slot.types[0] is Type.SIZE:
        return size_text(amount)
    return shown(slot.types[0], amount)
