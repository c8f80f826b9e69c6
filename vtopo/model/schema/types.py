"""What a property is made of: its forms, their slots, the types of their values."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

from vtopo.values import dataclass


class Type(enum.Enum):
    """What a slot of a property takes, in words for a reader; docs/language.md has what it is read as."""

    INTEGER = "a whole number"
    NUMBER = "a number, such as 2 or 0.5"
    SIZE = "a size, such as 512MiB or 2GB"
    RATE = "a rate, such as 10Mbit"
    THROUGHPUT = "bytes per second, such as 10MB/s"
    OPERATIONS = "operations per second, such as 1000iops"
    TIME = "a time, such as 20ms or 10s"
    SHARE = "a share, such as 0.5%"
    SWITCH = "`on` or `off`"
    WORD = "one of its words"
    WORDS = "a list of its words"
    NAME = "a name"
    NAMES = "a list of names"
    TEXT = "a string"
    COMMAND = 'a command: a string for the shell, or a list such as ["sleep", "9"]'
    VALUE = "a number, a string, an address, or a list of them"
    INTEGERS = "whole numbers: 3, a range such as 0..1, or a list of them"
    PORTS = "a pair of ports, such as 8080:80"
    NODE = "a node"
    ADDRESS = "an address, such as 10.0.0.1 or 2001:db8::1"
    INTERFACE_ADDRESS = "an address with its prefix length, such as 10.0.0.1/24"
    PREFIX = "a prefix, such as 10.0.0.0/24"
    MAC = "a MAC address, such as 02:00:00:00:00:01"


DIMENSIONS = {
    Type.SIZE: "size",
    Type.RATE: "rate",
    Type.THROUGHPUT: "throughput",
    Type.OPERATIONS: "operations",
    Type.TIME: "time",
    Type.SHARE: "share",
}
"""The types whose values carry a unit, with its dimension (vtopo.model.units)."""

VERBATIM = frozenset({Type.NAME, Type.NAMES})
"""Types whose bare words are themselves, whatever variables there are."""

TEXTS = frozenset({Type.TEXT, Type.COMMAND})
"""Types that a string in quotes is written for."""


class Place(enum.Enum):
    """A kind of block that holds properties."""

    LAB = "lab"
    MACHINE = "machine"
    HOST = "host"
    CONTAINER = "container"
    VM = "vm"
    BRIDGE = "bridge"
    UPLINK = "uplink"
    LINK = "link"
    END = "end of a link"
    DIRECTION = "direction of a link"
    OVERLAY = "overlay"
    SCENARIO = "scenario"

    # An enum's own is a function in Python, and places are looked up for each statement.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one value; of its `types` the first that fits is taken.

    `least` and `most` bound a number, in the unit that it is read in. `words` are what a WORD may be.
    """

    name: str
    types: tuple[Type, ...]
    words: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None


Form: TypeAlias = "tuple[Slot | str, ...]"
"""A way to write a property: slots, and the words and arrows between them."""


@dataclass(frozen=True)
class Property:
    """One property of one kind of block.

    `block` are the properties that may stand in its own block. With `many` it may stand more than once, and
    a form of a single slot takes several values on a line; with `keyed` those of several templates merge by
    their first value, with `append` they add up. A `late` one may ask for addresses: it is read when they
    have been handed out. `default` and `example` are for readers.
    """

    name: str
    doc: str
    forms: tuple[Form, ...]
    block: tuple[Property, ...] = ()
    many: bool = False
    keyed: bool = False
    append: bool = False
    required: bool = False
    late: bool = False
    default: str = ""
    example: str = ""

    @property
    def slot(self) -> Slot | None:
        """The only slot, if every form is one single slot."""
        only = self.forms[0]
        if len(self.forms) == 1 and len(only) == 1 and isinstance(only[0], Slot):
            return only[0]
        return None

    @cached_property
    def words(self) -> frozenset[str]:
        """The bare words that mean something to this property; in its values no variable is looked up for them."""
        words: set[str] = set()
        for form in self.forms:
            for part in form:
                words |= {part} if isinstance(part, str) else set(part.words)
        return frozenset(words)

    def is_verbatim(self, position: int) -> bool:
        """Whether a bare word at this position of the values is a name that stands for itself."""
        for form in self.forms:
            part = form[min(position, len(form) - 1)] if form else ""
            if isinstance(part, Slot) and part.types[0] in VERBATIM and (position < len(form) or self.slot):
                return True
        return False

    def is_text(self, position: int) -> bool:
        """Whether a string may stand at this position of the values."""
        at = 0 if self.slot is not None else position
        parts = [form[at] for form in self.forms if at < len(form)]
        return any(isinstance(part, Slot) and not TEXTS.isdisjoint(part.types) for part in parts)

    def takes(self) -> str:
        """What it takes, in words."""
        if self.slot is not None:
            return describe(self.slot)
        return f"such as `{self.example}`" if self.example else "nothing"

    @cached_property
    def inner(self) -> dict[str, Property]:
        """The properties of its block by name."""
        return {each.name: each for each in self.block}


def describe(slot: Slot) -> str:
    """What a slot takes, in words."""
    parts = [_words(slot) if type_ in {Type.WORD, Type.WORDS} else type_.value for type_ in slot.types]
    return " or ".join(parts)


def _words(slot: Slot) -> str:
    quoted = [f"`{word}`" for word in slot.words]
    return " or ".join(quoted) if len(quoted) < 3 else f"one of {', '.join(quoted)}"


def one(
    name: str,
    type_: Type,
    doc: str,
    *,
    words: Sequence[str] = (),
    least: int | None = None,
    most: int | None = None,
    block: tuple[Property, ...] = (),
    many: bool = False,
    append: bool = False,
    required: bool = False,
    late: bool = False,
    default: str = "",
) -> Property:
    """A property whose value is in a single slot."""
    slot = Slot(name, (type_,), tuple(words), least, most)
    return Property(
        name, doc, ((slot,),), block, many=many, append=append, required=required, late=late, default=default
    )


def slot(
    name: str, *types: Type, words: Sequence[str] = (), least: int | None = None, most: int | None = None
) -> Slot:
    """A slot of one of these types."""
    return Slot(name, types, tuple(words), least, most)


def optional(form: Form, tail: Form) -> tuple[Form, Form]:
    """A form with and without its tail."""
    return form, (*form, *tail)
