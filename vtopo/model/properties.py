"""Reads the properties of a block by the schema: types, bounds and repetition are checked here and nowhere else."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model.functions import address_literal
from vtopo.model.lab import IPAddress, IPNetwork
from vtopo.model.schema import SCHEMA, Place, Property, Type

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value and where it was written."""

    value: T
    range: Range


@dataclass(frozen=True, slots=True)
class RouteValue:
    """`10.0.0.0/8 via 192.0.2.1`, read."""

    destination: IPNetwork
    via: IPAddress


Read: TypeAlias = int | bool | str | IPAddress | IPInterface | IPNetwork | RouteValue


@dataclass(slots=True)
class Settings:
    """The properties of one block, read; a property that was not given, or not well, is absent."""

    found: dict[str, list[Setting[Read]]] = field(default_factory=dict)

    def one(self, name: str, type: type[T]) -> Setting[T] | None:
        """The value of a property that stands once."""
        for setting in self.found.get(name, ()):
            assert isinstance(setting.value, type)
            return Setting(setting.value, setting.range)
        return None

    def many(self, name: str) -> list[Setting[Read]]:
        """The values of a property that may stand more than once."""
        return self.found.get(name, [])

    def networks(self, name: str) -> list[Setting[IPNetwork]]:
        """The values of a property of prefixes."""
        return [
            Setting(s.value, s.range)
            for s in self.many(name)
            if isinstance(s.value, ipaddress.IPv4Network | ipaddress.IPv6Network)
        ]

    def interfaces(self, name: str) -> list[Setting[IPInterface]]:
        """The values of a property of addresses with a prefix length."""
        return [
            Setting(s.value, s.range)
            for s in self.many(name)
            if isinstance(s.value, ipaddress.IPv4Interface | ipaddress.IPv6Interface)
        ]

    def addresses(self, name: str) -> list[Setting[IPAddress]]:
        """The values of a property of plain addresses."""
        return [
            Setting(s.value, s.range)
            for s in self.many(name)
            if isinstance(s.value, ipaddress.IPv4Address | ipaddress.IPv6Address)
        ]


_ADDRESSES = frozenset({Type.ADDRESS, Type.INTERFACE_ADDRESS, Type.PREFIX})


class _Reported(Exception):
    """A value that an earlier stage has reported already."""


class _Fault(Exception):
    """A value that is not what its property takes."""

    def __init__(self, code: str, message: str, range: Range, label: str, help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.range, self.label, self.help = code, message, range, label, help


def read(
    statements: Sequence[ast.Property], places: Sequence[Place], diagnostics: Diagnostics, owner: Range
) -> Settings:
    """The settings of a block that may hold the properties of `places`; `owner` is the statement it belongs to."""
    known = {name: prop for place in reversed(places) for name, prop in SCHEMA[place].items()}
    settings = Settings()
    for statement in statements:
        prop = known.get(statement.key.text)
        if prop is None:
            _unknown(statement, places[0], known, diagnostics)
            continue
        if statement.block is not None:
            diagnostics.add("E0203", f"`{prop.name}` takes no block", statement.block.range, "remove this")
        try:
            values = [Setting(v, r) for v, r in _values(prop, statement)]
        except _Reported:
            continue
        except _Fault as fault:
            diagnostics.add(fault.code, fault.message, fault.range, fault.label, help=fault.help)
            continue
        earlier = settings.found.setdefault(prop.name, [])
        if earlier and not prop.many:
            first = Label(earlier[0].range, "first given here")
            diagnostics.add(
                "E0205", f"`{prop.name}` is given twice", statement.range, "given again here", others=[first]
            )
            continue
        earlier.extend(values)
    for prop in known.values():
        if prop.required and not any(s.key.text == prop.name for s in statements):
            diagnostics.add(
                "E0207",
                f"this {places[0].value} has no `{prop.name}`",
                owner,
                help=f"write `{prop.name}` and {prop.type.value} in its block",
            )
    return settings


def _unknown(
    statement: ast.Property, place: Place, known: dict[str, Property], diagnostics: Diagnostics
) -> None:
    key = statement.key
    elsewhere = [p.value for p, names in SCHEMA.items() if key.text in names]
    otherwise = f"it has {', '.join(f'`{n}`' for n in sorted(known))}"
    if elsewhere:
        otherwise = f"`{key.text}` belongs to {' or '.join(map(with_article, elsewhere))}"
        help = otherwise
    else:
        help = did_you_mean(key.text, known, otherwise)
    diagnostics.add(
        "E0201", f"{with_article(place.value)} has no property `{key.text}`", key.range, help=help
    )


def with_article(noun: str) -> str:
    """`a host`, `an overlay`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _values(prop: Property, statement: ast.Property) -> list[tuple[Read, Range]]:
    values = statement.values
    if prop.type is Type.ROUTE:
        return [(_route(statement), statement.range)]
    if not values:
        raise _Fault("E0203", f"`{prop.name}` needs a value", statement.key.range, prop.type.value)
    if len(values) > 1 and not prop.many:
        raise _Fault("E0203", f"`{prop.name}` takes one value", values[1].range, "a second one")
    return [(_value(prop, value), value.range) for value in values]


def _value(prop: Property, value: ast.Expression) -> Read:
    if isinstance(value, ast.String):
        value = _read_string(prop, value)
    match prop.type, value:
        case Type.INTEGER, ast.Integer():
            return _bounded(prop, value)
        case Type.INTEGER, ast.Quantity() | ast.Decimal():
            raise _Fault(
                "E0203", f"`{prop.name}` takes a whole number without a unit", value.range, prop.type.value
            )
        case Type.SWITCH, ast.Switch(on, _):
            return on
        case Type.MAC, ast.Mac():
            return _mac(value)
        case ((Type.ADDRESS | Type.INTERFACE_ADDRESS | Type.PREFIX), ast.Address()):
            return _address(prop, value)
        case Type.SWITCH, ast.Reference(word=word) if word is not None:
            help = did_you_mean(word, ("on", "off"))
            raise _Fault("E0203", f"`{prop.name}` is a switch", value.range, prop.type.value, help)
    raise _Fault("E0203", f"`{prop.name}` takes another type of value", value.range, prop.type.value)


def _as_address(value: ast.Expression) -> ast.Expression:
    """A string as the address that it spells, anything else as it is."""
    if isinstance(value, ast.String):
        try:
            return address_literal(value.text, value.range)
        except ValueError:
            return value
    return value


def _read_string(prop: Property, string: ast.String) -> ast.Value:
    """A string is read as the type that its property wants."""
    text, place = string.text, string.range
    if prop.type is Type.INTEGER and text.isascii() and text.isdigit() and len(text) < 19:
        return ast.Integer(int(text), place)
    if prop.type is Type.SWITCH and text in {"on", "off", "true", "false"}:
        return ast.Switch(text in {"on", "true"}, place)
    if prop.type is Type.MAC and re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", text):
        return ast.Mac(text.lower(), place)
    as_address = _as_address(string) if prop.type in _ADDRESSES else string
    return as_address if isinstance(as_address, ast.Address) else string


def _bounded(prop: Property, value: ast.Integer) -> int:
    if prop.least is not None and value.value < prop.least:
        raise _Fault("E0206", f"this `{prop.name}` is too small", value.range, f"at least {prop.least}")
    if prop.most is not None and value.value > prop.most:
        raise _Fault("E0206", f"this `{prop.name}` is too large", value.range, f"at most {prop.most}")
    return value.value


def _mac(value: ast.Mac) -> str:
    if int(value.text[:2], 16) & 1:
        raise _Fault(
            "E0206",
            "a group address cannot be an interface's own",
            value.range,
            "the first byte is odd",
            "use a locally administered address, such as 02:00:00:00:00:01",
        )
    return value.text


def _address(prop: Property, value: ast.Address) -> Read:
    if value.value is None:
        raise _Reported
    if prop.type is Type.ADDRESS:
        if value.has_length:
            raise _Fault(
                "E0203",
                f"`{prop.name}` takes an address without a length",
                value.range,
                f"write {value.value.ip}",
            )
        return value.value.ip
    if not value.has_length:
        raise _Fault("E0203", f"`{prop.name}` needs a prefix length", value.range, prop.type.value)
    if prop.type is Type.INTERFACE_ADDRESS:
        return value.value
    return _prefix(value)


def _prefix(value: ast.Address) -> IPNetwork:
    assert value.value is not None
    network = value.value.network
    if network.network_address != value.value.ip:
        raise _Fault(
            "E0203", f"`{value.text}` has bits set after its length", value.range, f"the prefix is {network}"
        )
    return network


def _route(statement: ast.Property) -> RouteValue:
    values = statement.values
    shape = "write `route 10.0.0.0/8 via 192.0.2.1` or `route default via 192.0.2.1`"
    if len(values) != 3 or not (isinstance(values[1], ast.Reference) and values[1].word == "via"):
        raise _Fault("E0203", "this is not a route", statement.range, Type.ROUTE.value, shape)
    to, _, by = (_as_address(value) for value in values)
    if isinstance(by, ast.Address) and by.value is None:
        raise _Reported
    if not isinstance(by, ast.Address) or by.has_length or by.value is None:
        raise _Fault("E0203", "a next hop is an address", by.range, "an address without a length", shape)
    via = by.value.ip
    if isinstance(to, ast.Reference) and to.word == "default":
        return RouteValue(ipaddress.ip_network("0.0.0.0/0" if via.version == 4 else "::/0"), via)
    if isinstance(to, ast.Address) and to.value is None:
        raise _Reported
    if not isinstance(to, ast.Address) or to.value is None:
        raise _Fault("E0203", "a route leads to a prefix", to.range, "a prefix or `default`", shape)
    destination = _prefix(to)
    if destination.version != via.version:
        raise _Fault(
            "E0203",
            "prefix and next hop are of different families",
            by.range,
            f"not IPv{destination.version}",
        )
    return RouteValue(destination, via)
