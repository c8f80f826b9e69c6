"""Works out expressions: from the syntax tree's to a literal, or to a node's name that stays one."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model import functions
from vtopo.model.scope import Variable, Variables
from vtopo.model.text import literal_text
from vtopo.model.units import UNITS, amount, decimal, exact, in_unit

if TYPE_CHECKING:
    from fractions import Fraction

_COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

KINDS = {
    ast.Integer: "a whole number",
    ast.Decimal: "a decimal number",
    ast.Quantity: "a quantity",
    ast.Address: "an address",
    ast.Mac: "a MAC address",
    ast.String: "a string",
    ast.Switch: "`on` or `off`",
    ast.Reference: "a name",
    ast.Interval: "a range",
    ast.ListValue: "a list",
    ast.Pair: "a pair",
    ast.Arrow: "an arrow",
}


_LAID_OUT = ("address", "address6", "subnet", "subnet6")
"""What `self` has once addresses are handed out."""

_PART = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*")

LONGEST_STRING = 1_000_000
"""Characters of a string; a few doublings would fill the memory otherwise."""


class Unknown(Exception):
    """An expression that cannot be worked out; the diagnostic is added already."""


class Later(Exception):
    """An expression that asks for an address before there are any; `reference` is what asks."""

    def __init__(self, reference: ast.Reference) -> None:
        super().__init__(reference)
        self.reference = reference


Attributes: TypeAlias = Callable[[ast.Reference], ast.Value]
"""The value of `h1.eth0.address`; Unknown after an error."""


class Evaluator:
    """Evaluation is total: no loops, no recursion; what cannot be worked out is reported once."""

    def __init__(self, diagnostics: Diagnostics, attributes: Attributes | None = None) -> None:
        self._diagnostics = diagnostics
        self._attributes = attributes

    def fail(
        self,
        code: str,
        message: str,
        place: Range,
        label: str = "",
        help: str = "",
        others: tuple[Label, ...] = (),
    ) -> Unknown:
        """The exception to raise, its diagnostic added."""
        self._diagnostics.add(code, message, place, label, help=help, others=others)
        return Unknown()

    def value(
        self, expression: ast.Expression, scope: Variables, words: frozenset[str] = frozenset()
    ) -> ast.Value:
        """The value of `expression`; a bare word of `words` stays what it is. Unknown after an error."""
        match expression:
            case ast.Reference():
                return self._reference(expression, scope, words)
            case ast.String():
                return self._string(expression, scope)
            case ast.Group():
                return self.value(expression.inner, scope)
            case ast.Interval():
                first, last = self.integer(expression.first, scope), self.integer(expression.last, scope)
                return ast.Interval(first, last, expression.range)
            case ast.ListValue():
                return self._list(expression, scope, words)
            case ast.Pair():
                pair = self.value(expression.first, scope), self.value(expression.second, scope)
                return ast.Pair(*pair, expression.range)
            case ast.Unary():
                return self._unary(expression, scope)
            case ast.Binary():
                return self._binary(expression, scope)
            case ast.Choice():
                chosen = self.switch(expression.condition, scope)
                return self.value(expression.then if chosen else expression.otherwise, scope)
            case ast.Call():
                return self._call(expression, scope)
            case _:
                return expression

    def _list(self, expression: ast.ListValue, scope: Variables, words: frozenset[str]) -> ast.Value:
        items = tuple(self.value(item, scope, words) for item in expression.items)
        for item in items:
            if isinstance(item, ast.ListValue):
                raise self.fail("E0212", "a list holds no lists", item.range, "this is one")
        return ast.ListValue(items, expression.range)

    def integer(self, expression: ast.Expression, scope: Variables) -> ast.Integer:
        """The value of an expression where a whole number is needed."""
        value = self.known(expression, scope)
        if isinstance(value, ast.Integer):
            return value
        raise self._type(value, "a whole number is needed here")

    def switch(self, expression: ast.Expression, scope: Variables) -> bool:
        """The value of a condition."""
        value = self.known(expression, scope)
        if isinstance(value, ast.Switch):
            return value.value
        raise self._type(value, "a condition is needed here", "such as `n > 2`")

    def text(self, value: ast.Value) -> str:
        """A value as a string's `${…}` shows it."""
        text = literal_text(value)
        if text is None:
            raise self._type(value, f"{KINDS[type(value)]} has no text")
        return text

    def _type(self, value: ast.Value, message: str, help: str = "") -> Unknown:
        return self.fail("E0212", message, value.range, f"this is {KINDS[type(value)]}", help)

    # Names

    def _reference(self, reference: ast.Reference, scope: Variables, words: frozenset[str]) -> ast.Value:
        word = reference.word
        if reference.parts[0].name.text == "self":
            return self._self(reference, scope)
        if word is not None and word not in words:
            variable = scope.find(word)
            if variable is not None:
                return dataclasses.replace(self.variable(variable, reference.range), range=reference.range)
        return self.indexed(reference, scope)

    def indexed(self, reference: ast.Reference, scope: Variables) -> ast.Reference:
        """A reference to nodes, with its indices worked out."""
        if all(_is_worked_out(index) for part in reference.parts for index in part.indices):
            return reference
        parts = tuple(self.declared(part, scope) for part in reference.parts)
        return ast.Reference(parts, reference.range)

    def declared(self, declared: ast.Declared, scope: Variables) -> ast.Declared:
        """A name with its indices worked out: each a whole number or a range of them."""
        indices = tuple(self._index(index, scope) for index in declared.indices)
        return ast.Declared(declared.name, indices, declared.range)

    def _index(self, index: ast.Index, scope: Variables) -> ast.Index:
        if index.items is None:
            return index
        items: list[ast.Expression] = []
        for item in index.items:
            value = self.known(item, scope)
            flat = value.items if isinstance(value, ast.ListValue) else (value,)
            for one in flat:
                if isinstance(one, ast.String) and not _PART.fullmatch(one.text):
                    raise self.fail(
                        "E0308", f"`{one.text}` cannot be part of a name", item.range, "letters, digits, `_`"
                    )
                if not isinstance(one, ast.Integer | ast.Interval | ast.String):
                    raise self.fail("E0212", "an index is a whole number, a range or a string", item.range)
                low = one.first if isinstance(one, ast.Interval) else one
                if isinstance(low, ast.Integer) and low.value < 0:
                    raise self.fail(
                        "E0212",
                        "an index is not negative",
                        item.range,
                        f"{low.value}",
                        help="a range is written `h[1..3]`",
                    )
                items.append(one)
        return ast.Index(tuple(items), index.range)

    def variable(self, variable: Variable, asked: Range) -> ast.Value:
        """The value of a variable, worked out at the first call."""
        if variable.value is None:
            if variable.busy:
                raise self.fail(
                    "E0311",
                    f"`{variable.name.text}` is defined by itself",
                    asked,
                    "asked for again here",
                    others=(Label(variable.name.range, "while it is worked out"),),
                )
            if variable.failed or variable.expression is None:
                raise Unknown  # reported when it failed
            variable.busy = variable.failed = True
            try:
                variable.value = self.known(variable.expression, variable.scope)
                variable.failed = False
            except Later:
                variable.failed = False
                raise
            finally:
                variable.busy = False
        return variable.value

    def _self(self, reference: ast.Reference, scope: Variables) -> ast.Value:
        node = scope.node()
        if node is None:
            raise self.fail("E0310", "`self` is known in a node's block only", reference.range)
        attribute = reference.parts[1].name.text if len(reference.parts) == 2 else ""
        if len(reference.parts) > 2 or attribute in _LAID_OUT:
            named = ast.Declared(ast.Word(node.name, reference.range), (), reference.range)
            return self._attribute(ast.Reference((named, *reference.parts[1:]), reference.range))
        if attribute == "name":
            return ast.String((node.name,), reference.range)
        position = {"index": 0, "index2": 1}.get(attribute)
        if position is None:
            has = ("name", "index", "index2", *_LAID_OUT)
            message = f"`self` has no `{attribute}`" if attribute else "`self` is a node, not a value"
            help = did_you_mean(attribute, has, f"it has {', '.join(has[:5])} and its interfaces")
            raise self.fail("E0310", message, reference.range, help=help)
        if position >= len(node.indices):
            raise self.fail(
                "E0310", f"`{node.name}` has no such index", reference.range, "not declared with one"
            )
        index = node.indices[position]
        if isinstance(index, str):
            return ast.String((index,), reference.range)
        return ast.Integer(index, reference.range)

    def _attribute(self, reference: ast.Reference) -> ast.Value:
        if self._attributes is None:
            raise Later(reference)
        return self._attributes(reference)

    def known(self, expression: ast.Expression, scope: Variables) -> ast.Value:
        """The value of an expression in which a bare word must be a variable."""
        value = self.value(expression, scope)
        if not isinstance(value, ast.Reference):
            return value
        if value.word is None:
            return self._attribute(value)
        name = value.word
        first = name.partition("-")[0]
        if "-" in name and scope.find(first) is not None:
            spaced = name.replace("-", " - ")
            raise self.fail("E0310", f"`{name}` is one name", value.range, help=f"write `{spaced}`")
        raise self.fail(
            "E0310", f"unknown variable `{name}`", value.range, help=did_you_mean(name, list(scope.names()))
        )

    # Operators

    def _string(self, string: ast.String, scope: Variables) -> ast.String:
        if len(string.parts) == 1 and isinstance(string.parts[0], str):
            return string
        parts = [p if isinstance(p, str) else self.text(self.known(p, scope)) for p in string.parts]
        if sum(map(len, parts)) > LONGEST_STRING:
            raise self.fail(
                "E0106", "this string is too long", string.range, f"over {LONGEST_STRING} characters"
            )
        return ast.String(("".join(parts),), string.range)

    def _unary(self, unary: ast.Unary, scope: Variables) -> ast.Value:
        if unary.operator == "not":
            return ast.Switch(not self.switch(unary.operand, scope), unary.range)
        value = self.known(unary.operand, scope)
        zero = ast.Integer(0, unary.range)
        if not isinstance(value, ast.Integer | ast.Decimal | ast.Quantity):
            raise self._type(value, "a sign stands before a number")
        if unary.operator == "+":
            return value
        if isinstance(value, ast.Quantity):
            self._unit(value)
            return ast.Quantity(decimal(-exact(value.number)), value.unit, unary.range)
        return self._arithmetic("-", zero, value, unary.range)

    def _binary(self, binary: ast.Binary, scope: Variables) -> ast.Value:
        sign = binary.operator
        if sign in {"and", "or"}:
            left = self.switch(binary.left, scope)
            decided = left if sign == "or" else not left
            result = left if decided else self.switch(binary.right, scope)
            return ast.Switch(result, binary.range)
        one, other = self.known(binary.left, scope), self.known(binary.right, scope)
        if sign in {"==", "!="}:
            return ast.Switch(self._equal(one, other, binary.range) == (sign == "=="), binary.range)
        if sign in _COMPARE:
            a, b = self._numbers(sign, one, other, binary.range)
            return ast.Switch(_COMPARE[sign](a, b), binary.range)
        return self._arithmetic(sign, one, other, binary.range)

    def _equal(self, one: ast.Value, other: ast.Value, place: Range) -> bool:
        numbers = (ast.Integer, ast.Decimal, ast.Quantity)
        if isinstance(one, numbers) and isinstance(other, numbers):
            a, b = self._numbers("==", one, other, place)
            return a == b
        if isinstance(one, ast.Address) and isinstance(other, ast.Address):
            return one.value == other.value and one.has_length == other.has_length
        if (
            type(one) is not type(other)
            and not isinstance(one, ast.String)
            and not isinstance(other, ast.String)
        ):
            raise self._mismatch("==", one, other, place)
        return self.text(one) == self.text(other)

    def _mismatch(self, sign: str, one: ast.Value, other: ast.Value, place: Range) -> Unknown:
        kinds = f"{KINDS[type(one)]} and {KINDS[type(other)]}"
        return self.fail("E0212", f"`{sign}` does not go with {kinds}", place)

    def _numbers(
        self, sign: str, one: ast.Value, other: ast.Value, place: Range
    ) -> tuple[Fraction, Fraction]:
        """Two numbers, or two quantities of one dimension in its base unit."""
        if isinstance(one, ast.Quantity) and isinstance(other, ast.Quantity):
            a, b = self._unit(one), self._unit(other)
            if a != b:
                raise self.fail("E0212", f"`{sign}` does not go with a {a} and a {b}", place)
            return amount(one), amount(other)
        a_number, b_number = _number(one), _number(other)
        if a_number is None or b_number is None:
            raise self._mismatch(sign, one, other, place)
        return a_number, b_number

    def _unit(self, quantity: ast.Quantity) -> str:
        if quantity.unit not in UNITS:
            raise self.fail(
                "E0204",
                f"`{quantity.unit}` is no unit",
                quantity.range,
                help=did_you_mean(quantity.unit, UNITS, "units are case-sensitive, such as MiB, Mbit, ms"),
            )
        return UNITS[quantity.unit][0]

    def _arithmetic(self, sign: str, one: ast.Value, other: ast.Value, place: Range) -> ast.Value:
        if isinstance(one, ast.Quantity) or isinstance(other, ast.Quantity):
            return self._of_quantities(sign, one, other, place)
        a, b = self._numbers(sign, one, other, place)
        if sign in {"/", "%"} and b == 0:
            raise self.fail("E0213", "division by zero", place)
        whole = isinstance(one, ast.Integer) and isinstance(other, ast.Integer)
        result = _calculate(sign, a, b, whole)
        if not whole:
            self._in_bounds(result, place)
            return ast.Decimal(decimal(result), place)
        if abs(result) > functions.BIGGEST:
            raise self.fail(
                "E0106", "this number is out of all bounds", place, f"more than {functions.BIGGEST}"
            )
        return ast.Integer(int(result), place)

    def _in_bounds(self, result: Fraction, place: Range) -> None:
        if abs(result) > functions.BIGGEST**2:
            raise self.fail("E0106", "this number is out of all bounds", place)

    def _of_quantities(self, sign: str, one: ast.Value, other: ast.Value, place: Range) -> ast.Value:
        if sign in {"+", "-"} and isinstance(one, ast.Quantity) and isinstance(other, ast.Quantity):
            a, b = self._numbers(sign, one, other, place)
            total = _calculate(sign, a, b, False)
            self._in_bounds(total, place)
            return ast.Quantity(in_unit(total, one.unit), one.unit, place)
        if sign == "*" and isinstance(other, ast.Quantity):
            one, other = other, one
        number = _number(other)
        if sign not in {"*", "/"} or not isinstance(one, ast.Quantity) or number is None:
            raise self._mismatch(sign, one, other, place)
        if sign == "/" and number == 0:
            raise self.fail("E0213", "division by zero", place)
        scaled = _calculate(sign, exact(one.number), number, False)
        self._in_bounds(scaled, place)
        return ast.Quantity(decimal(scaled), one.unit, place)

    def _call(self, call: ast.Call, scope: Variables) -> ast.Value:
        name = call.function.text
        function = functions.FUNCTIONS.get(name)
        if function is None:
            help = did_you_mean(name, functions.FUNCTIONS, f"there are {', '.join(functions.FUNCTIONS)}")
            raise self.fail("E0310", f"unknown function `{name}`", call.function.range, help=help)
        arguments = [self.known(argument, scope) for argument in call.arguments]
        result = function(arguments, call.range)
        if isinstance(result, str):
            raise self.fail("E0214", f"`{name}` cannot be worked out", call.range, result)
        return result


def _number(value: ast.Value) -> Fraction | None:
    if isinstance(value, ast.Integer):
        return exact(value.value)
    return exact(value.text) if isinstance(value, ast.Decimal) else None


def _calculate(sign: str, a: Fraction, b: Fraction, whole: bool) -> Fraction:
    match sign:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return exact(a // b) if whole else a / b
    return a % b


def _is_worked_out(index: ast.Index) -> bool:
    """Whether an index is already what it comes to: `[*]`, or whole numbers."""
    return index.items is None or all(isinstance(i, ast.Integer) and i.value >= 0 for i in index.items)
