"""Reads the properties of a block by the schema: forms, types, bounds and repetition are checked only here."""

from __future__ import annotations

import builtins
import functools
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Generic, TypeAlias, TypeVar

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean, either
from vtopo.model.lab import IPAddress, IPNetwork
from vtopo.model.schema import ELSEWHERE, SCHEMA, VERBATIM, Form, Place, Property, Slot, Type, describe
from vtopo.model.schema.types import TEXTS
from vtopo.model.templates import key_of
from vtopo.model.units import UNITS
from vtopo.model.values import Fault, Read, Reported, node_named, read_value
from vtopo.values import dataclass

T = TypeVar("T")
S = TypeVar("S")

Resolve: TypeAlias = Callable[[ast.Expression, bool], ast.Expression]
"""Works out what waited for addresses; the flag says whether a name of several parts may be a node here."""


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A property as it was given: its first value and that value's type, where it was written, all its values by
    their slots, and its block."""

    value: T
    range: Range
    type: Type | None = None
    slots: Mapping[str, Read] = field(default_factory=dict)
    block: Settings | None = None

    def slot(self, name: str, wanted: builtins.type[S]) -> S | None:
        """The value of a slot, if it was given."""
        value = self.slots.get(name)
        if value is None:
            return None
        assert isinstance(value, wanted)
        return value


@dataclass(slots=True)
class Settings:
    """The properties of one block, read; a property that was not given, or not well, is absent."""

    found: dict[str, list[Setting[Read]]] = field(default_factory=dict)

    def one(self, name: str, type: type[T]) -> Setting[T] | None:
        """The value of a property that stands once."""
        given = self.found.get(name)
        if not given:
            return None
        setting = given[0]
        assert isinstance(setting.value, type)
        return Setting(setting.value, setting.range, setting.type, setting.slots, setting.block)

    def value(self, name: str, type: type[T]) -> T | None:
        """The bare value of a property that stands once."""
        given = self.found.get(name)
        if not given:
            return None
        assert isinstance(given[0].value, type)
        return given[0].value

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

    def texts(self, name: str) -> list[Setting[str]]:
        """The values of a property of names, words or texts."""
        return [
            Setting(s.value, s.range, s.type, s.slots, s.block)
            for s in self.many(name)
            if isinstance(s.value, str)
        ]


MOST_LISTED = 12
"""Properties that a message lists."""


def _as_it_is(value: ast.Expression, _node: bool) -> ast.Expression:
    return value


def read(
    statements: Sequence[ast.Property],
    places: Sequence[Place],
    diagnostics: Diagnostics,
    owner: Range,
    *,
    late: bool | None = None,
    resolve: Resolve = _as_it_is,
) -> Settings:
    """The settings of a block that may hold the properties of `places`; `owner` is the statement it belongs to.

    With `late` only the late properties, or only the others, are read; what is wrong with a block as a whole is
    reported with the others.
    """
    known, required = _known(*places)
    if not statements and not required:
        return Settings()
    owner_named = with_article(places[0].value)
    reader = _Reader(known, owner_named, diagnostics, resolve, ELSEWHERE.get(places[0], {}))
    settings = reader.read(statements, late)
    for prop in required if late is not True else ():
        given = prop.name in diagnostics.unread or any(s.key.text == prop.name for s in statements)
        if not given:
            diagnostics.add(
                "E0207",
                f"this {places[0].value} has no `{prop.name}`",
                owner,
                help=f"write `{prop.name}` and {prop.takes()} in its block",
            )
    return settings


@functools.cache
def _known(*places: Place) -> tuple[Mapping[str, Property], Sequence[Property]]:
    """The properties that a block of these places may have, and those that it must."""
    known = {name: prop for place in reversed(places) for name, prop in SCHEMA[place].items()}
    return known, [prop for prop in known.values() if prop.required]


def with_article(noun: str) -> str:
    """`a host`, `an overlay`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class _Reader:
    """Reads one block; `owner` is what has it, with its article, and `instead` what to do for what it cannot have."""

    def __init__(
        self,
        known: Mapping[str, Property],
        owner: str,
        diagnostics: Diagnostics,
        resolve: Resolve,
        instead: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._known = known
        self._owner = owner
        self._diagnostics = diagnostics
        self._resolve = resolve
        self._instead = instead
        self._settings = Settings()
        self._first: dict[tuple[str, str], Range] = {}

    def read(self, statements: Sequence[ast.Property], late: bool | None) -> Settings:
        for statement in statements:
            prop = self._known.get(statement.key.text)
            if prop is None:
                if late is not True:
                    self._unknown(statement)
            elif late is None or prop.late is late:
                self._diagnostics.via = statement.via or self._diagnostics.via
                self._property(prop, statement)
        return self._settings

    def _property(self, prop: Property, statement: ast.Property) -> None:
        try:
            found = self._read(prop, statement)
        except Reported:
            self._diagnostics.unread.add(prop.name)
            return
        except Fault as fault:
            self._diagnostics.unread.add(prop.name)
            help = did_you_mean(fault.word, self._diagnostics.variables, fault.help)
            self._diagnostics.add(fault.code, fault.message, fault.range, fault.label, help=help)
            return
        if not self._twice(prop, statement):
            self._settings.found.setdefault(prop.name, []).extend(found)

    def _twice(self, prop: Property, statement: ast.Property) -> bool:
        if prop.many and not prop.keyed:
            return False
        key = key_of(statement) if prop.keyed else ""
        first = self._first.setdefault((prop.name, key), statement.range)
        if first is statement.range:
            return False
        name = f"{prop.name} {key.partition(' IPv')[0]}" if key else prop.name
        others = [Label(first, "first given here")]
        self._diagnostics.add(
            "E0205", f"`{name}` is given twice", statement.range, "given again here", others=others
        )
        return True

    def _read(self, prop: Property, statement: ast.Property) -> list[Setting[Read]]:
        block = self._block(prop, statement.block)
        if prop.slot is not None:
            return self._simple(prop, prop.slot, statement, block)
        fault: Fault | None = None
        for form in (f for f in prop.forms if _fits(f, statement.values, prop.words)):
            try:
                return [self._formed(prop, form, statement, block)]
            except Fault as f:
                fault = fault or f
        if fault is not None:
            raise fault
        shape = f"such as `{prop.example}`" if prop.example else ""
        if not statement.values:
            raise Fault("E0203", f"`{prop.name}` needs a value", statement.key.range, "", shape)
        raise Fault("E0203", f"`{prop.name}` is not written so", statement.range, "", shape)

    def _simple(
        self, prop: Property, slot: Slot, statement: ast.Property, block: Settings | None
    ) -> list[Setting[Read]]:
        values = statement.values
        if not values:
            raise Fault("E0203", f"`{prop.name}` needs a value", statement.key.range, prop.takes())
        if len(values) > 1 and not prop.many:
            help = ""
            number, unit = values[:2]
            if isinstance(number, ast.Integer) and isinstance(unit, ast.Reference) and unit.word in UNITS:
                help = f"a number and its unit have no space between: {number.value}{unit.word}"
            elif not TEXTS.isdisjoint(slot.types):
                help = f'a string with spaces stands in quotes: `{prop.name} "…"`'
            raise Fault("E0203", f"`{prop.name}` takes one value", values[1].range, "a second one", help)
        found: list[Setting[Read]] = []
        for written in values:
            value, type_ = self._value(prop.name, slot, written)
            found.append(Setting(value, written.range, type_, {slot.name: value}, block))
        return found

    def _formed(
        self, prop: Property, form: Form, statement: ast.Property, block: Settings | None
    ) -> Setting[Read]:
        slots: dict[str, Read] = {}
        types: list[Type] = []
        called = prop.name
        for part, written in zip(form, statement.values, strict=True):
            if isinstance(part, Slot):
                slots[part.name], type_ = self._value(called, part, written)
                types.append(type_)
            elif part.isalpha():
                called = part
        first: Read = next(iter(slots.values()), True)
        return Setting(first, statement.range, types[0] if types else None, slots, block)

    def _value(self, name: str, slot: Slot, written: ast.Expression) -> tuple[Read, Type]:
        # A name stands for itself, also one with dots, as a sysctl's.
        verbatim = slot.types[0] in VERBATIM
        value = written if verbatim else self._resolve(written, Type.NODE in slot.types)
        if Type.NODE in slot.types and isinstance(value, ast.String):
            named = node_named(value)
            if named is not None and Type.TEXT not in slot.types and Type.ADDRESS not in slot.types:
                value = named
        return read_value(name, slot, value)

    def _block(self, prop: Property, block: ast.Block | None) -> Settings | None:
        if block is None:
            return None
        if not prop.block:
            raise Fault("E0203", f"`{prop.name}` takes no block", block.range, "remove this")
        inner: list[ast.Property] = []
        for statement in block.statements:
            if isinstance(statement, ast.Property):
                inner.append(statement)
            else:
                self._diagnostics.add(
                    "E0208", f"`{prop.name}` holds properties only", statement.range, "not here"
                )
        reader = _Reader(prop.inner, f"`{prop.name}`", self._diagnostics, self._resolve)
        return reader.read(inner, None)

    def _unknown(self, statement: ast.Property) -> None:
        key = statement.key
        elsewhere = [p.value for p, names in SCHEMA.items() if key.text in names]
        around = next((p.name for p in self._known.values() if key.text in p.inner), None)
        homes = [f"the block of `{around}`"] if around is not None else []
        homes += map(with_article, elsewhere)
        if key.text in self._instead:
            help = self._instead[key.text]
        elif homes:
            help = f"`{key.text}` belongs to {either(homes)}"
        else:
            has = ", ".join(f"`{name}`" for name in sorted(self._known))
            many = len(self._known) > MOST_LISTED
            help = did_you_mean(
                key.text, self._known, "docs/reference.md has them all" if many else f"it has {has}"
            )
        self._diagnostics.add("E0201", f"{self._owner} has no property `{key.text}`", key.range, help=help)


def _fits(form: Form, values: Sequence[ast.Expression], words: frozenset[str]) -> bool:
    """Whether values have a form's length, and the property's words and arrows just where it has them."""
    if len(form) != len(values):
        return False
    for part, value in zip(form, values, strict=True):
        if not isinstance(part, Slot):
            if not _is(part, value):
                return False
        elif isinstance(value, ast.Reference) and value.word in words and not _TAKES_WORDS & set(part.types):
            return False
    return True


_TAKES_WORDS = {Type.WORD, Type.WORDS, Type.NAME, Type.NAMES, Type.NODE}


def _is(word: str, value: ast.Expression) -> bool:
    match value:
        case ast.Arrow(text=text):
            return text == word
        case ast.Reference(word=text):
            return text == word
        case ast.Switch(value=on):
            return word == ("on" if on else "off")
    return False


__all__ = ["Read", "Setting", "Settings", "describe", "read", "with_article"]
