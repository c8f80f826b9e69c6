"""Lines that differ in their digits alone are parsed once: the trees of further ones are made after the first's.

No terminal of the grammar tells one digit from another. So two lines that are the same once every digit is a 0 hold
the same kinds of tokens in the same columns. Where both begin a statement, and the first one's ends on its line, in
the block that it began in, the trees of the two differ in nothing but what stands in those columns, and in the lines'
numbers. A large lab is mostly such lines, and most of the time to parse it went into telling so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from vtopo.addresses import read_interface
from vtopo.lang import ast
from vtopo.lang.source import Range, Source
from vtopo.values import dataclass

_ZEROS = str.maketrans("123456789", "000000000")

_LONGEST_NUMBER = 18
"""Digits of a number that is within all bounds whichever they are (ast.BIGGEST)."""

_DEEPEST = 40
"""Parts of a tree within each other; what nobody writes is left to the parser, which needs no stack for it."""

_Make: TypeAlias = Callable[[str, int], Any]
"""Makes a part of a tree, of a line's text and number."""


class _Unlike(Exception):
    """What does not follow from the text in a tree's columns, or is not known to."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a line that is written in some way is read.

    `make` makes its first statement's tree, which takes so many `columns` and has `blocks` within each other.
    """

    make: _Make
    columns: int
    blocks: int


class Alike:
    """The lines of a source that begin statements, by the way they are written."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._lines = source.text.split("\n")
        self._written = source.text.translate(_ZEROS).split("\n")
        self._once: set[str] = set()
        """The ways to write a line that were seen: it may have been the only time, and is not worth a look."""
        self._forms: dict[str, _Form | None] = {}
        """Those that were seen again; None: such a line is parsed each time."""

    def read(self, number: int, room: int) -> tuple[ast.Statement, int] | None:
        """The tree of the statement that line `number` (from 1) begins with, and how many columns it takes.

        None if it must be parsed; that with more than `room` blocks within each other is for the parser to refuse.
        """
        if number == len(self._lines):
            return None  # no line break follows, only perhaps a carriage return that ends no line
        form = self._forms.get(self._written[number - 1])
        if form is None or form.blocks > room:
            return None
        try:
            return form.make(self._lines[number - 1], number), form.columns
        except _Unlike:
            return None

    def learn(self, number: int, columns: int, statement: ast.Statement) -> None:
        """Line `number` begins with this statement, which ends on it, and in which nothing is wrong."""
        written = self._written[number - 1]
        if written in self._forms:
            return
        if written not in self._once:
            self._once.add(written)
            return
        template = _Template(self._path, self._lines[number - 1], number)
        try:
            self._forms[written] = _Form(template.part(statement), columns, template.blocks)
        except _Unlike:
            self._forms[written] = None


class _Template:
    """Takes the tree of one line apart, into what makes the trees of those that are written alike."""

    def __init__(self, path: str, text: str, number: int) -> None:
        self._path = path
        self._text = text
        self._number = number
        self._depth = 0
        self._within = 0
        self.blocks = 0
        """How many blocks are within each other."""

    def part(self, value: object) -> _Make:
        """What makes such a part of a tree; _Unlike if that is not known."""
        match value:
            case None | bool():
                return lambda text, number: value
            case str() if not any(map(str.isdigit, value)):
                return lambda text, number: value
            case Range():
                return self._range(value)
            case ast.Word() | ast.Decimal():
                return self._word(type(value), value.text, value.range)
            case ast.Integer():
                return self._integer(value)
            case ast.Quantity():
                return self._quantity(value)
            case ast.Address():
                return self._address(value)
            case ast.Mac():
                return self._mac(value)
            case ast.String():
                return self._string(value)
            case tuple():
                return _tuple([self.part(each) for each in value])
            case _ if type(value) in _NODES and self._depth < _DEEPEST:
                return self._node(value)
        raise _Unlike

    def _columns(self, place: Range, text: str) -> tuple[int, int]:
        """From and up to which character the line says a text, by its place."""
        if place.line != self._number or place.end_line != self._number:
            raise _Unlike
        first, end = place.column - 1, place.end_column - 1
        if self._text[first:end] != text:
            raise _Unlike
        return first, end

    def _range(self, place: Range) -> _Make:
        if place.line != self._number or place.end_line != self._number:
            raise _Unlike
        path, column, end_column = self._path, place.column, place.end_column
        return lambda text, number: Range(path, number, column, number, end_column)

    def _word(self, kind: type[ast.Word | ast.Decimal], said: str, place: Range) -> _Make:
        first, end = self._columns(place, said)
        path, column, end_column = self._path, place.column, place.end_column
        return lambda text, number: kind(text[first:end], Range(path, number, column, number, end_column))

    def _integer(self, value: ast.Integer) -> _Make:
        first, end = value.range.column - 1, value.range.end_column - 1
        digits = self._text[first:end]
        if len(digits) > _LONGEST_NUMBER or not digits.isdecimal() or int(digits) != value.value:
            raise _Unlike
        place = self._range(value.range)
        return lambda text, number: ast.Integer(int(text[first:end]), place(text, number))

    def _quantity(self, value: ast.Quantity) -> _Make:
        first, _ = self._columns(value.range, value.number + value.unit)
        middle = first + len(value.number)
        unit, place = value.unit, self._range(value.range)
        return lambda text, number: ast.Quantity(text[first:middle], unit, place(text, number))

    def _address(self, value: ast.Address) -> _Make:
        first, end = self._columns(value.range, value.text)
        place = self._range(value.range)

        def make(text: str, number: int) -> ast.Address:
            said = text[first:end]
            try:
                return ast.Address(said, read_interface(said), place(text, number))
            except ValueError:  # 10.0.0.256 is written as 10.0.0.255 is
                raise _Unlike from None

        return make

    def _mac(self, value: ast.Mac) -> _Make:
        first, end = value.range.column - 1, value.range.end_column - 1
        if self._text[first:end].lower() != value.text:
            raise _Unlike
        place = self._range(value.range)
        return lambda text, number: ast.Mac(text[first:end].lower(), place(text, number))

    def _string(self, value: ast.String) -> _Make:
        """A text without escapes and expressions."""
        match value.parts:
            case (str(said),):
                first, end = self._columns(value.range, f'"{said}"')
                place = self._range(value.range)
                return lambda text, number: ast.String((text[first + 1 : end - 1],), place(text, number))
        raise _Unlike

    def _node(self, value: Any) -> _Make:
        kind = type(value)
        match value:
            # One of a single part has the place of that.
            case ast.Declared(name, (), place) if place is name.range:
                make_name = self.part(name)

                def declared(text: str, number: int) -> ast.Declared:
                    name = make_name(text, number)
                    return ast.Declared(name, (), name.range)

                return declared
            case ast.Reference((only,), place) if place is only.range:
                make_only = self.part(only)

                def reference(text: str, number: int) -> ast.Reference:
                    only = make_only(text, number)
                    return ast.Reference((only,), only.range)

                return reference
        is_block = isinstance(value, ast.Block)
        self._depth += 1
        self._within += is_block
        self.blocks = max(self.blocks, self._within)
        makes = [self.part(getattr(value, name)) for name in kind.__match_args__]
        self._within -= is_block
        self._depth -= 1
        return _call(kind, makes)


_NODES: frozenset[type] = frozenset(
    {
        ast.Arrow,
        ast.Assignment,
        ast.Binary,
        ast.Block,
        ast.Call,
        ast.Choice,
        ast.Declared,
        ast.DirectionStatement,
        ast.Endpoint,
        ast.ExpectStatement,
        ast.Group,
        ast.Index,
        ast.Interval,
        ast.LetStatement,
        ast.LinkStatement,
        ast.ListValue,
        ast.Measured,
        ast.NodeStatement,
        ast.OverlayStatement,
        ast.Pair,
        ast.PathTaken,
        ast.PoolStatement,
        ast.Property,
        ast.Reaches,
        ast.Reference,
        ast.Runs,
        ast.Switch,
        ast.Unary,
        ast.VtepStatement,
    }
)
"""The parts of trees that are no more than their own parts."""


def _tuple(makes: list[_Make]) -> _Make:
    match makes:
        case []:
            return lambda text, number: ()
        case [one]:
            return lambda text, number: (one(text, number),)
    return lambda text, number: tuple([make(text, number) for make in makes])


def _call(kind: type, makes: list[_Make]) -> _Make:
    """A call of `kind` with what these make; a list of arguments takes longer, so few kinds have one."""
    match makes:
        case [a, b]:
            return lambda text, number: kind(a(text, number), b(text, number))
        case [a, b, c]:
            return lambda text, number: kind(a(text, number), b(text, number), c(text, number))
        case [a, b, c, d]:
            return lambda text, number: kind(
                a(text, number), b(text, number), c(text, number), d(text, number)
            )
        case [a, b, c, d, e]:
            return lambda text, number: kind(
                a(text, number), b(text, number), c(text, number), d(text, number), e(text, number)
            )
    return lambda text, number: kind(*[make(text, number) for make in makes])
