"""Reads one value as the type that its place wants: literals in, plain Python values out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model.functions import address_literal
from vtopo.model.lab import IPAddress, IPNetwork
from vtopo.model.schema import DIMENSIONS, Slot, Type, describe
from vtopo.model.schema.types import TEXTS
from vtopo.model.units import UNITS, amount, decimal, exact, size_of
from vtopo.model.unquoted import quotes_for

if TYPE_CHECKING:
    from fractions import Fraction

Read: TypeAlias = (
    int
    | bool
    | str
    | tuple[int, ...]
    | tuple[str, ...]
    | IPAddress
    | IPInterface
    | IPNetwork
    | ast.Reference
    | ast.Value
)
"""What a value is read as. Sizes are in bytes, rates in bit/s, throughputs in B/s, times in µs, shares in millionths,
numbers that may have a fraction in thousandths; pairs of ports and whole numbers are tuples."""

FACTORS: Mapping[Type, int] = {
    Type.TIME: 1_000_000,
    Type.SHARE: 1_000_000,
    Type.NUMBER: 1000,
}
"""By what a value in its dimension's base unit is multiplied to be read as a whole number."""

MISTAKEN_UNITS: Mapping[str, tuple[str, ...]] = {
    **{letter: (f"{letter.upper()}iB", f"{letter}bit") for letter in "KMGT"},
    **{letter: (f"{letter.upper()}iB",) for letter in "kg"},
    **{f"{letter}i": (f"{letter}iB",) for letter in "KMGT"},
    **{f"{letter}bps": (f"{letter}bit",) for letter in "kMG"},
    "m": ("min", "MiB", "Mbit"),
    "KB": ("kB",),
    "mb": ("MB", "Mbit"),
    "Mb": ("Mbit", "MB"),
    "Gb": ("Gbit", "GB"),
    "gb": ("GB",),
    "MB": ("MB/s",),
    "kB": ("kB/s",),
    "bps": ("bit",),
    "Kbps": ("kbit",),
    "mbit": ("Mbit",),
    "gbit": ("Gbit",),
    "K": ("KiB", "kbit"),
    "sec": ("s",),
    "secs": ("s",),
    "seconds": ("s",),
    "msec": ("ms",),
    "usec": ("us",),
    "mins": ("min",),
    "hours": ("h",),
    "hour": ("h",),
    "d": ("h",),
}
"""Units as other tools write them, and what may be meant."""

_TYPICAL = {
    Type.SIZE: "MiB",
    Type.RATE: "Mbit",
    Type.THROUGHPUT: "MB/s",
    Type.OPERATIONS: "iops",
    Type.TIME: "s",
    Type.SHARE: "%",
}
_MILLI = {"delay": "ms", "jitter": "ms"}
_ADDRESSES = frozenset({Type.ADDRESS, Type.INTERFACE_ADDRESS, Type.PREFIX})
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_PATH_OF_NAMES = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*")


class Reported(Exception):
    """A value that an earlier stage has reported already."""


class Fault(Exception):
    """A value that is not what its place takes; `word` if it is one that nothing is known of."""

    def __init__(
        self, code: str, message: str, range: Range, label: str, help: str = "", word: str = ""
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.range, self.label, self.help = code, message, range, label, help
        self.word = word


def read_value(name: str, slot: Slot, value: ast.Expression) -> tuple[Read, Type]:
    """A value of the property `name` as the first of the slot's types that fits it; Fault if none does."""
    fault: Fault | None = None
    for type_ in slot.types:
        try:
            found = _as(name, slot, type_, value)
        except Fault as f:
            fault = f
            continue
        if found is not None:
            return found, type_
    if fault is not None and len(slot.types) == 1:
        raise fault
    raise _wrong(name, slot, value, fault)


def _wrong(name: str, slot: Slot, value: ast.Expression, fault: Fault | None = None) -> Fault:
    """What is wrong with a value; `fault` is what is with it as the last type that it nearly is."""
    word = value.word if isinstance(value, ast.Reference) else None
    if word is not None and Type.NODE not in slot.types:
        words = slot.words or (("on", "off") if Type.SWITCH in slot.types else ())
        message = f"`{name}` does not take `{word}`" if words else f"unknown variable `{word}`"
        help = did_you_mean(word, words, "" if TEXTS.isdisjoint(slot.types) else quotes_for(value))
        code = "E0203" if words else "E0310"
        return Fault(code, message, value.range, describe(slot), help, "" if words else word)
    if isinstance(value, ast.ListValue):
        for item in value.items:
            if isinstance(item, ast.Reference) and item.word is not None and Type.NODE not in slot.types:
                return _wrong(name, slot, item)
    if fault is not None:
        label = fault.label if fault.code != "E0204" else describe(slot)
        return Fault(fault.code, fault.message, fault.range, label)
    help = "" if TEXTS.isdisjoint(slot.types) else quotes_for(value)
    return Fault("E0203", f"`{name}` takes another type of value", value.range, describe(slot), help)


def _as(name: str, slot: Slot, type_: Type, value: ast.Expression) -> Read | None:
    """The value as this type; None if it is of another, Fault if it is one that cannot be."""
    if isinstance(value, ast.String) and type_ not in _TEXTS:
        value = _from_string(type_, value)
    if type_ in DIMENSIONS or type_ in {Type.INTEGER, Type.NUMBER}:
        return _number(name, slot, type_, value)
    if type_ in _ADDRESSES:
        return _address(name, type_, value) if isinstance(value, ast.Address) else None
    match type_, value:
        case Type.SWITCH, ast.Switch(value=on):
            return on
        case Type.MAC, ast.Mac():
            return _mac(value)
        case Type.WORD, _:
            return _word(slot, value)
        case Type.NAME, _:
            return _name(value)
        case ((Type.WORDS | Type.NAMES), _):
            return _names(name, slot, type_, value)
        case Type.TEXT, ast.String(text=text):
            return _printable(text, value.range)
        case Type.COMMAND, ast.String(text=text):
            return _printable(text, value.range)
        case Type.COMMAND, ast.ListValue(items=items):
            return _arguments(name, items, value.range)
        case Type.INTEGERS, _:
            return _integers(name, slot, value)
        case Type.PORTS, ast.Pair():
            return _ports(value)
        case Type.NODE, ast.Reference():
            return value
        case Type.VALUE, _:
            return _plain(value)
    return None


_TEXTS = frozenset(
    {Type.TEXT, Type.COMMAND, Type.NAME, Type.VALUE, Type.WORD, Type.WORDS, Type.NAMES, Type.NODE}
)
"""Types that take a string as it is, or look at it themselves."""


def as_address(value: ast.Expression) -> ast.Expression:
    """A string as the address that it spells, anything else as it is."""
    if isinstance(value, ast.String):
        try:
            return address_literal(value.text, value.range)
        except ValueError:
            return value
    return value


def _from_string(type_: Type, string: ast.String) -> ast.Expression:
    """A string is read as the type that its place wants."""
    text, place = string.text, string.range
    if type_ in {Type.INTEGER, Type.NUMBER, Type.INTEGERS} and re.fullmatch(r"[0-9]{1,18}", text):
        return ast.Integer(int(text), place)
    if type_ is Type.NUMBER and re.fullmatch(r"[0-9]{1,15}\.[0-9]{1,15}", text):
        return ast.Decimal(text, place)
    if type_ in DIMENSIONS and (match := re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([A-Za-z/%]+)", text)):
        return ast.Quantity(match[1], match[2], place)
    if type_ is Type.SWITCH and text in {"on", "off", "true", "false"}:
        return ast.Switch(text in {"on", "true"}, place)
    if type_ is Type.MAC and _MAC.fullmatch(text):
        return ast.Mac(text.lower(), place)
    if type_ is Type.PORTS and (match := re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", text)):
        return ast.Pair(ast.Integer(int(match[1]), place), ast.Integer(int(match[2]), place), place)
    if type_ in _ADDRESSES:
        return as_address(string)
    return string


# Numbers


def _number(name: str, slot: Slot, type_: Type, value: ast.Expression) -> int | None:
    dimension = DIMENSIONS.get(type_)
    if dimension is None:
        return _bare(name, slot, type_, value)
    if isinstance(value, ast.Integer | ast.Decimal):
        number = str(value.value) if isinstance(value, ast.Integer) else value.text
        if number == "0":
            return _bounded(name, slot, 0, value.range, type_)
        raise Fault(
            "E0204",
            f"`{name}` needs a unit",
            value.range,
            type_.value,
            f"did you mean {number}{_MILLI.get(name) or _TYPICAL[type_]}?",
        )
    if not isinstance(value, ast.Quantity):
        return None
    unit = UNITS.get(value.unit)
    if unit is None:
        raise Fault(
            "E0204", f"`{value.unit}` is no unit", value.range, type_.value, _unit_help(value, dimension)
        )
    if unit[0] != dimension:
        raise Fault("E0204", f"`{name}` takes a {dimension}, not a {unit[0]}", value.range, type_.value)
    return _bounded(name, slot, _amount(value) * FACTORS.get(type_, 1), value.range, type_)


def _amount(quantity: ast.Quantity) -> Fraction | int:
    """`amount`; of most labs' quantities without fractions, which take long to load."""
    size, parts = UNITS[quantity.unit][1]
    return int(quantity.number) * size if parts == 1 and quantity.number.isdecimal() else amount(quantity)


def _unit_help(value: ast.Quantity, dimension: str) -> str:
    for meant in MISTAKEN_UNITS.get(value.unit, ()):
        if UNITS[meant][0] == dimension:
            return f"did you mean {value.number}{meant}?"
    units = [unit for unit, (of, _) in UNITS.items() if of == dimension]
    return did_you_mean(value.unit, units, f"write one of {', '.join(units)}")


def _bare(name: str, slot: Slot, type_: Type, value: ast.Expression) -> int | None:
    match type_, value:
        case _, ast.Integer(value=number):
            return _bounded(name, slot, number * FACTORS.get(type_, 1), value.range, type_)
        case Type.NUMBER, ast.Decimal(text=text):
            return _bounded(name, slot, exact(text) * 1000, value.range, type_)
        case Type.INTEGER, ast.Quantity() | ast.Decimal():
            raise Fault("E0203", f"`{name}` takes a whole number without a unit", value.range, type_.value)
        case Type.NUMBER, ast.Quantity():
            raise Fault("E0203", f"`{name}` takes a number without a unit", value.range, type_.value)
    return None


def _bounded(name: str, slot: Slot, number: Fraction | int, place: Range, type_: Type) -> int:
    if number.denominator != 1:
        if type_ is Type.NUMBER:
            raise Fault("E0206", f"this `{name}` is too exact", place, "at most three decimals")
        number = exact(round(number))
    value = int(number)
    if slot.least is not None and value < slot.least:
        raise Fault("E0206", f"this `{name}` is too small", place, f"at least {shown(type_, slot.least)}")
    if slot.most is not None and value > slot.most:
        raise Fault("E0206", f"this `{name}` is too large", place, f"at most {shown(type_, slot.most)}")
    return value


_SHOWN: Mapping[Type, tuple[str, ...]] = {
    Type.SIZE: ("TiB", "GiB", "MiB", "KiB", "B"),
    Type.RATE: ("Gbit", "Mbit", "kbit", "bit"),
    Type.THROUGHPUT: ("GB/s", "MB/s", "kB/s", "B/s"),
    Type.OPERATIONS: ("iops",),
    Type.TIME: ("h", "min", "s", "ms", "us"),
    Type.SHARE: ("%",),
}


def shown(type_: Type, value: int) -> str:
    """A number as it is read, as a reader would write it."""
    base = exact(value) / FACTORS.get(type_, 1)
    units = _SHOWN.get(type_)
    if units is None:
        return decimal(base)
    for unit in units:
        scaled = base / size_of(unit)
        if scaled >= 1 and scaled.denominator == 1:
            return f"{scaled}{unit}"
    return f"{decimal(base / size_of(units[-1]))}{units[-1]}"


def _integers(name: str, slot: Slot, value: ast.Expression) -> tuple[int, ...] | None:
    """Whole numbers in order, each once."""
    items = value.items if isinstance(value, ast.ListValue) else (value,)
    found: set[int] = set()
    for item in items:
        match item:
            case ast.Integer(value=number):
                found.add(_bounded(name, slot, number, item.range, Type.INTEGER))
            case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)):
                for number in (first, last):
                    _bounded(name, slot, number, item.range, Type.INTEGER)
                found.update(range(first, last + 1))
            case _:
                return None
    if not found:
        raise Fault("E0203", f"`{name}` needs at least one number", value.range, Type.INTEGERS.value)
    return tuple(sorted(found))


def _ports(pair: ast.Pair) -> tuple[int, ...] | None:
    found: list[int] = []
    for end in (pair.first, pair.second):
        if not isinstance(end, ast.Integer):
            return None
        if not 1 <= end.value <= 65535:
            raise Fault("E0206", "a port is a number from 1 to 65535", end.range, "no port")
        found.append(end.value)
    return tuple(found)


# Words


def _word(slot: Slot, value: ast.Expression) -> str | None:
    text = None
    if isinstance(value, ast.Reference):
        text = value.word
    elif isinstance(value, ast.String):
        text = value.text
    elif isinstance(value, ast.Switch):
        text = "on" if value.value else "off"
    return text if text in slot.words else None


def _name(value: ast.Expression) -> str | None:
    if isinstance(value, ast.String):
        return _printable(value.text, value.range)
    if isinstance(value, ast.Reference) and not any(part.indices for part in value.parts):
        return ".".join(part.name.text for part in value.parts)
    return None


def _names(name: str, slot: Slot, type_: Type, value: ast.Expression) -> tuple[str, ...] | None:
    items = value.items if isinstance(value, ast.ListValue) else (value,)
    found: list[str] = []
    for item in items:
        text = _word(slot, item) if type_ is Type.WORDS else _name(item)
        if text is None:
            raise _wrong(name, slot, item)
        if text in found:
            raise Fault("E0205", f"`{text}` stands twice in `{name}`", item.range, "once is enough")
        found.append(text)
    return tuple(found)


def _printable(text: str, place: Range) -> str:
    """A text that a system takes: NUL ends every string of the kernel's."""
    if "\0" in text:
        raise Fault("E0203", "a NUL byte cannot be passed on", place, "in this text")
    return text


def _arguments(name: str, items: tuple[ast.Expression, ...], place: Range) -> tuple[str, ...]:
    found: list[str] = []
    for item in items:
        match item:
            case ast.String(text=text) | ast.Address(text=text) | ast.Decimal(text=text):
                found.append(_printable(text, item.range))
            case ast.Integer(value=number):
                found.append(str(number))
            case _:
                raise Fault("E0203", f"`{name}` takes strings and numbers", item.range, "neither")
    if not found:
        raise Fault("E0203", f"`{name}` is an empty list", place, "a command has a name at least")
    return tuple(found)


def _plain(value: ast.Expression) -> ast.Value | None:
    """A literal, whole lists of them too."""
    match value:
        case (
            ast.Integer()
            | ast.Decimal()
            | ast.Quantity()
            | ast.Address()
            | ast.Mac()
            | ast.String()
            | ast.Switch()
        ):
            return value
        case ast.ListValue(items=items) if all(_plain(item) is not None for item in items):
            return value
        case ast.Interval():
            return value
        case ast.Reference(word=word) if word is not None:
            return ast.String((word,), value.range)
    return None


# Addresses


def _mac(value: ast.Mac) -> str:
    if int(value.text[:2], 16) & 1:
        raise Fault(
            "E0206",
            "a group address cannot be an interface's own",
            value.range,
            "the first byte is odd",
            "use a locally administered address, such as 02:00:00:00:00:01",
        )
    return value.text


def _address(name: str, type_: Type, value: ast.Address) -> Read:
    if value.value is None:
        raise Reported
    if type_ is Type.ADDRESS:
        if value.has_length:
            raise Fault(
                "E0203", f"`{name}` takes an address without a length", value.range, f"write {value.value.ip}"
            )
        return value.value.ip
    if not value.has_length:
        raise Fault("E0203", f"`{name}` needs a prefix length", value.range, type_.value)
    return value.value if type_ is Type.INTERFACE_ADDRESS else _prefix(value)


def _prefix(value: ast.Address) -> IPNetwork:
    assert value.value is not None
    network = value.value.network
    if network.network_address != value.value.ip:
        raise Fault(
            "E0203", f"`{value.text}` has bits set after its length", value.range, f"the prefix is {network}"
        )
    return network


def node_named(value: ast.Value) -> ast.Reference | None:
    """A node's name that came as a string, as a reference."""
    if not isinstance(value, ast.String) or not _PATH_OF_NAMES.fullmatch(value.text):
        return None
    parts = tuple(
        ast.Declared(ast.Word(part, value.range), (), value.range) for part in value.text.split(".")
    )
    return ast.Reference(parts, value.range)


__all__ = ["Fault", "Read", "Reported", "as_address", "node_named", "read_value", "shown"]
