"""From parser rules to the syntax tree: one method per rule of grammar/vlab.lark."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from vtopo.addresses import read_interface
from vtopo.lang import ast
from vtopo.lang.ast import BIGGEST
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.expect import Claimed, claim
from vtopo.lang.source import Range
from vtopo.lang.tokens import Token
from vtopo.values import dataclass

MOST_DIGITS = 30
"""Digits of a decimal number or a quantity."""

MOST_EXPRESSIONS = 1000
"""Expressions in one string."""

Inner: TypeAlias = Callable[[str, int, int], "ast.Expression | None"]
"""Parses an expression inside a string: its text, line and column; None after an error was reported."""

_SPECIAL = re.compile(r"\\(?P<escape>.)|\$\{(?P<expression>[^{}\"]*)\}|(?P<end>\r?\n)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class TreeBuilder:
    """Runs inside the parser, so that no generic tree is ever built."""

    def __init__(self) -> None:
        self.begin("", Diagnostics(), lambda text, line, column: None)

    def begin(self, path: str, diagnostics: Diagnostics, inner: Inner) -> None:
        """From now on build the trees of the file `path`; `inner` parses the expressions in its strings."""
        self._path = path
        self._diagnostics = diagnostics
        self._inner = inner

    def _place(self, token: Token) -> Range:
        return Range(self._path, token.line, token.column, token.end_line, token.end_column)

    def _range(self, children: list[Any]) -> Range:
        """From the first child to the last; each is a token or has a range of its own."""
        first, last = children[0], children[-1]
        if not isinstance(first, Token):
            if first is last:
                return first.range  # type: ignore[no-any-return]
            first = first.range
        if not isinstance(last, Token):
            last = last.range
        return Range(self._path, first.line, first.column, last.end_line, last.end_column)

    def _word(self, token: Token) -> ast.Word:
        return ast.Word(str(token), self._place(token))

    def _integer(self, token: Token) -> int:
        value = int(token) if len(token) < 20 else BIGGEST + 1
        if value > BIGGEST:
            self._diagnostics.add(
                "E0106", "this number is out of all bounds", self._place(token), f"more than {BIGGEST}"
            )
            return BIGGEST
        return value

    # Names and places

    def all(self, children: list[Token]) -> Token:
        return children[0]

    def index(self, children: list[Any]) -> ast.Index:
        items = tuple(c for c in children if not isinstance(c, Token))
        return ast.Index(items or None, self._range(children))

    def declared(self, children: list[Any]) -> ast.Declared:
        word = self._word(children[0])
        if len(children) == 1:
            return ast.Declared(word, (), word.range)
        return ast.Declared(word, tuple(children[1:]), self._range(children))

    part = keyword = declared

    def reference(self, children: list[Any]) -> ast.Reference:
        if isinstance(children[0], Token):
            children = [self.declared(children[:1]), *children[1:]]
        return ast.Reference(tuple(children), self._range(children))

    def port(self, children: list[Token]) -> _Port:
        token = children[1]
        name = self.string([token]) if token.type == "STRING" else self._word(token)
        return _Port(name, self._range(children))

    def parents(self, children: list[Token]) -> _Parents:
        return _Parents(tuple(map(self._word, children)), self._range(children))

    # Values

    def integer(self, children: list[Token]) -> ast.Integer:
        return ast.Integer(self._integer(children[0]), self._range(children))

    def decimal(self, children: list[Token]) -> ast.Decimal:
        return ast.Decimal(self._bounded(str(children[0]), children[0]), self._range(children))

    def _bounded(self, number: str, token: Token) -> str:
        """The number, or 0 after an error if it has more digits than anything in a lab."""
        if len(number) <= MOST_DIGITS:
            return number
        self._diagnostics.add(
            "E0106", "this number is out of all bounds", self._place(token), f"over {MOST_DIGITS} digits"
        )
        return "0"

    def quantity(self, children: list[Token]) -> ast.Quantity:
        match = re.match(r"[0-9.]*[0-9]", children[0])
        assert match is not None
        number = self._bounded(match[0], children[0])
        return ast.Quantity(number, children[0][match.end() :], self._range(children))

    def address(self, children: list[Token]) -> ast.Address:
        text = str(children[0])
        value: ast.IPInterface | None = None
        try:
            value = read_interface(text)
        except ValueError as e:
            self._diagnostics.add(
                "E0105", f"`{text}` is not an IP address", self._range(children), _address_fault(text, str(e))
            )
        return ast.Address(text, value, self._range(children))

    def mac(self, children: list[Token]) -> ast.Mac:
        return ast.Mac(str(children[0]).lower(), self._range(children))

    def string(self, children: list[Token]) -> ast.String:
        token = children[0]
        long = token.type == "LONG_STRING"
        return ast.String(
            tuple(self._unquote(token, *(_long(token) if long else _SHORT))), self._range(children)
        )

    def switch(self, children: list[Token]) -> ast.Switch:
        return ast.Switch(children[0] in {"on", "true"}, self._range(children))

    def word(self, children: list[Token]) -> ast.Reference:
        word = self._word(children[0])
        return ast.Reference((ast.Declared(word, (), word.range),), word.range)

    def _unquote(self, token: Token, quotes: int, end: int, indent: int) -> Iterator[str | ast.Expression]:
        """The parts of a quoted string: text with its escapes undone, and the expressions between `${` and `}`.

        The text is `token[quotes:end]`, of each line of which but the first `indent` columns are left out.
        """
        at = quotes
        end = end if end >= 0 else len(token) + end
        text = ""
        expressions = 0
        unknown: set[str] = set()
        for match in _SPECIAL.finditer(token, quotes, end):
            if match.start() < at:  # within the indent
                continue
            text += token[at : match.start()]
            at = match.end()
            if match["end"] is not None:
                text += "\n" if quotes > 1 else match["end"]
                blank = len(token[at:end]) - len(token[at:end].lstrip(" \t")) if indent else 0
                at += min(indent, blank)
                continue
            if match["expression"] is None:
                letter = match["escape"]
                if letter not in _ESCAPES and letter not in unknown:
                    unknown.add(letter)
                    self._unknown_escape(letter, token)
                text += _ESCAPES.get(letter, "")
                continue
            expressions += 1
            if expressions > MOST_EXPRESSIONS:
                self._diagnostics.add(
                    "E0106",
                    "this string is too long",
                    self._place(token),
                    f"over {MOST_EXPRESSIONS} expressions",
                )
                at = end
                break
            inner = self._inner(match["expression"], *_place_in(token, match.start("expression")))
            if inner is not None:
                yield text
                yield inner
                text = ""
        rest = token[at:end]
        if "${" in rest:
            line, column = _place_in(token, at + rest.index("${"))
            self._diagnostics.add(
                "E0101",
                "`${` begins an expression that is not closed",
                Range(self._path, line, column, line, column + 2),
                "expected a value and `}`",
                help="a plain dollar sign before a brace is written `\\$`",
            )
        yield text + rest

    def _unknown_escape(self, letter: str, token: Token) -> None:
        self._diagnostics.add(
            "E0102",
            f"unknown escape `\\{letter}` in a string",
            self._place(token),
            help='write one of \\" \\\\ \\n \\t \\$',
        )

    # Expressions

    def _binary(self, children: list[Any]) -> ast.Binary:
        left, operator, right = children
        return ast.Binary(str(operator), left, right, self._range(children))

    sum = product = signed_sum = comparison = disjunction = conjunction = _binary

    def expression(self, children: list[Any]) -> ast.Expression:
        whole: ast.Expression = children[0]
        return whole

    def choice(self, children: list[Any]) -> ast.Choice:
        condition, then, otherwise = children
        return ast.Choice(condition, then, otherwise, self._range(children))

    def negative(self, children: list[Any]) -> ast.Unary:
        operator, operand = children
        return ast.Unary(str(operator), operand, self._range(children))

    negation = negative

    def pair(self, children: list[Any]) -> ast.Pair:
        return ast.Pair(children[0], children[1], self._range(children))

    def arrow(self, children: list[Token]) -> ast.Arrow:
        return ast.Arrow(str(children[0]), self._range(children))

    def compare(self, children: list[Token]) -> ast.Word:
        return self._word(children[0])

    def interval(self, children: list[Any]) -> ast.Interval:
        return ast.Interval(children[0], children[1], self._range(children))

    span = interval

    def call(self, children: list[Any]) -> ast.Call:
        arguments = tuple(c for c in children[1:] if not isinstance(c, Token))
        return ast.Call(self._word(children[0]), arguments, self._range(children))

    def list_value(self, children: list[Any]) -> ast.ListValue:
        return ast.ListValue(tuple(c for c in children if not isinstance(c, Token)), self._range(children))

    def group(self, children: list[Any]) -> ast.Group:
        return ast.Group(children[1], self._range(children))

    # Statements

    def block(self, children: list[Any]) -> ast.Block:
        statements = tuple(c for c in children if not isinstance(c, Token) and c is not None)
        return ast.Block(statements, self._range(children))

    def lab(self, children: list[Any]) -> ast.LabStatement:
        return ast.LabStatement(self._word(children[1]), _block(children[2:]), self._range(children))

    def node(self, children: list[Any]) -> ast.NodeStatement:
        kind, declared, *rest = children
        templates = rest.pop(0).names if rest and isinstance(rest[0], _Parents) else ()
        machine = rest.pop(0) if rest and isinstance(rest[0], ast.Word) else None
        return ast.NodeStatement(
            self._word(kind), declared, templates, machine, _block(rest), self._range(children)
        )

    def placed(self, children: list[Token]) -> ast.Word:
        return self._word(children[1])

    def use(self, children: list[Any]) -> ast.UseStatement:
        _, source, *rest = children
        declared = rest[1] if rest and isinstance(rest[0], Token) else None
        block = rest[-1] if rest and isinstance(rest[-1], ast.Block) else None
        return ast.UseStatement(self.string([source]), declared, block, self._range(children))

    def assignment(self, children: list[Any]) -> ast.Assignment:
        name, value = children
        return ast.Assignment(self._word(name), value, self._range(children))

    def pool(self, children: list[Any]) -> ast.PoolStatement | ast.Property | None:
        key, declared, *values = children
        place = self._range(children)
        if not values:  # in a block: which pool it takes from
            name = ast.Reference((declared,), declared.range)
            return ast.Property(self._word(key), (name,), None, place)
        # `split /31` lexes as a division.
        match values:
            case [prefix, ast.Binary("/", ast.Reference(word="split"), length)]:
                return ast.PoolStatement(declared, prefix, length, place)
        if all(isinstance(value, ast.Reference) for value in values):
            name = ast.Reference((declared,), declared.range)
            return ast.Property(self._word(key), (name, *values), None, place)
        self._diagnostics.add(
            "E0101", "this is no pool", place, help="write `pool p2p 10.1.0.0/16 split /31`"
        )
        return None

    def machine(self, children: list[Any]) -> ast.MachineStatement:
        _, name, *rest = children
        return ast.MachineStatement(self._word(name), _block(rest), self._range(children))

    def scenario(self, children: list[Any]) -> ast.ScenarioStatement:
        _, name, block = children
        return ast.ScenarioStatement(self.string([name]), block, self._range(children))

    def endpoint(self, children: list[Any]) -> ast.Endpoint:
        node, *rest = children
        block = rest.pop() if isinstance(children[-1], ast.Block) else None
        port = rest.pop(0).name if rest and isinstance(rest[0], _Port) else None
        return ast.Endpoint(node, port, tuple(rest), block, self._range(children))

    def link(self, children: list[Any]) -> ast.LinkStatement:
        _, left, right, *rest = children
        block = _block(rest)
        if block is None and right.block is not None:
            # A single block at the end is the link's; the grammar hands it to the right end.
            block = right.block
            right = dataclasses.replace(right, block=None)
        return ast.LinkStatement(left, right, block, self._range(children))

    def overlay(self, children: list[Any]) -> ast.OverlayStatement:
        _, declared, *rest = children
        return ast.OverlayStatement(declared, _block(rest), self._range(children))

    def vtep(self, children: list[Any]) -> ast.VtepStatement:
        _, node, *rest, bridge = children
        place = self._range(children)
        if isinstance(node, ast.String):
            return ast.VtepStatement(None, node, bridge, place, tuple(rest))
        return ast.VtepStatement(node, rest[0].name, bridge, place)

    def expect(self, children: list[Any]) -> ast.ExpectStatement | None:
        """The claim; one that says nothing is reported and left out."""
        place = self._range(children)
        read = claim([c for c in children[1:] if not (isinstance(c, Token) and c.type == "NOT")])
        if isinstance(read, Claimed):
            negated = isinstance(children[1], Token) and children[1].type == "NOT"
            return ast.ExpectStatement(negated, read.claim, read.within, place)
        self._diagnostics.add("E0101", read.message, read.range or place, read.label, help=read.help)
        return None

    def property(self, children: list[Any]) -> ast.Property | ast.DirectionStatement:
        key, *rest = children
        block = rest.pop() if rest and isinstance(rest[-1], ast.Block) else None
        place = self._range(children)
        match rest:
            case [ast.Arrow() as arrow, ast.Reference() as right] if block is not None:
                return ast.DirectionStatement(key, arrow, right, block, place)
        if key.word is None:
            self._diagnostics.add(
                "E0101", "a property's name is a single word", key.range, "not a path or an index"
            )
        return ast.Property(key.parts[0].name, tuple(rest), block, place)

    def direction(self, children: list[Any]) -> ast.DirectionStatement:
        arrow, block = children
        return ast.DirectionStatement(None, arrow, None, block, self._range(children))

    def given(self, children: list[Any]) -> tuple[str, ast.Expression]:
        return "default", children[0]

    def within(self, children: list[Any]) -> tuple[str, ast.Expression]:
        return "within", children[1]

    def param(self, children: list[Any]) -> ast.ParamStatement:
        _, name, *rest = children
        parts = dict(rest)
        end = list(parts.values())[-1:]
        place = self._range([children[0], *(end or [name])])
        return ast.ParamStatement(self._word(name), parts.get("default"), parts.get("within"), place)

    def let(self, children: list[Any]) -> ast.LetStatement:
        _, name, value = children
        return ast.LetStatement(self._word(name), value, self._range(children))

    def turn(self, children: list[Any]) -> ast.Turn:
        name, _, values = children
        return ast.Turn(self._word(name), values, self._range(children))

    def loop(self, children: list[Any]) -> ast.ForStatement:
        _, *turns, block = children
        return ast.ForStatement(tuple(turns), block, self._range(children))

    def otherwise(self, children: list[Any]) -> ast.Block | ast.IfStatement:
        otherwise: ast.Block | ast.IfStatement = children[1]
        return otherwise

    def condition(self, children: list[Any]) -> ast.IfStatement:
        _, condition, then, *rest = children
        return ast.IfStatement(condition, then, rest[0] if rest else None, self._range(children))

    def template(self, children: list[Any]) -> ast.TemplateStatement:
        _, name, *bases, block = children
        return ast.TemplateStatement(
            self._word(name), bases[0].names if bases else (), block, self._range(children)
        )

    def default(self, children: list[Any]) -> ast.DefaultStatement:
        _, kind, block = children
        return ast.DefaultStatement(self._word(kind), block, self._range(children))

    def start(self, children: list[ast.Statement | None]) -> ast.File:
        return ast.File(self._path, tuple(c for c in children if c is not None))


@dataclass(frozen=True, slots=True)
class _Port:
    """`:eth0`, which no value can be taken for."""

    name: ast.Word | ast.String
    range: Range


@dataclass(frozen=True, slots=True)
class _Parents:
    """`: router, big`."""

    names: tuple[ast.Word, ...]
    range: Range


_SHORT = (1, -1, 0)
"""What `_unquote` takes of a string in single quotation marks."""


def _long(token: str) -> tuple[int, int, int]:
    """The stretch of a string of many lines that is its text, and its lines' common indent.

    The line of the opening marks, and that of the closing ones, are left out where nothing else stands there.
    """
    start, end = 3, len(token) - 3
    first = re.compile(r"[ \t]*\r?\n").match(token, start, end)
    if first is not None:
        start = first.end()
    body = token[start:end]
    lines = body.split("\n")
    if not lines[-1].strip():
        end -= len(lines.pop())
    counted = [line for line in (lines if first is not None else lines[1:]) if line.strip()]
    indent = min((len(line) - len(line.lstrip(" \t")) for line in counted), default=0)
    return (start + (indent if first is not None else 0), end, indent)


def _place_in(token: Token, at: int) -> tuple[int, int]:
    """The line and column of the character `at` of a token."""
    before = token[:at]
    lines = before.count("\n")
    column = at - before.rfind("\n") if lines else token.column + at
    return token.line + lines, column


def _block(children: list[Any]) -> ast.Block | None:
    return children[0] if children else None


def _address_fault(text: str, reason: str) -> str:
    """What is wrong with an address, in few words."""
    host, _, length = text.partition("/")
    if ":" not in host:
        for part in host.split("."):
            if len(part) > 3 or int(part) > 255:
                return f"{part} is more than 255"
            if len(part) > 1 and part[0] == "0":
                return f"{part} has a leading zero; write {int(part)}"
        if host.count(".") != 3:
            return "an IPv4 address has four numbers"
    most = 128 if ":" in host else 32
    if length and (len(length) > 3 or int(length) > most):
        return f"the prefix length is at most {most}"
    return reason.partition(" in ")[0].lower()
