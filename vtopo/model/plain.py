"""Works out the values of one statement that needs no unrolling: properties, links, tunnel ends, expectations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.model.expressions import Evaluator, Later
from vtopo.model.functions import address_literal
from vtopo.model.schema import SCHEMA, Place, Property
from vtopo.model.scope import Variables
from vtopo.model.templates import merge
from vtopo.model.unquoted import bare_words, quotes_for

_NONE = frozenset({"none"})

Unroll: TypeAlias = Callable[[Sequence[ast.Statement], Variables], "list[ast.Statement]"]
"""The plain statements of a block."""


class Plain:
    """Plain statements of one file; `unroll` does the blocks in them, `defaults` are those of its links."""

    def __init__(
        self, evaluator: Evaluator, unroll: Unroll, defaults: Sequence[ast.DefaultStatement]
    ) -> None:
        self._evaluator = evaluator
        self._unroll = unroll
        self._link_defaults = defaults

    def statement(self, statement: ast.Statement, scope: Variables, via: ast.Via | None) -> ast.Statement:
        """The statement with plain values; Unknown or Later if one cannot be worked out."""
        match statement:
            case ast.Property():
                return self._property(statement, scope, via)
            case ast.LinkStatement():
                return self._link(statement, scope, via)
            case ast.LabStatement():
                return dataclasses.replace(statement, block=self._inner(statement.block, scope, Place.LAB))
            case ast.MachineStatement():
                return dataclasses.replace(
                    statement, block=self._inner(statement.block, scope, Place.MACHINE)
                )
            case ast.OverlayStatement():
                declared = self._evaluator.declared(statement.declared, scope)
                block = self._inner(statement.block, scope, Place.OVERLAY)
                return ast.OverlayStatement(declared, block, statement.range, via)
            case ast.VtepStatement():
                return self._vtep(statement, scope)
            case ast.PoolStatement():
                return self._pool(statement, scope, via)
            case ast.DirectionStatement():
                return self._direction(statement, scope)
            case ast.ExpectStatement():
                return self._expect(statement, scope, via)
            case ast.ScenarioStatement():
                block = self._inner(statement.block, scope, Place.SCENARIO)
                assert block is not None
                return ast.ScenarioStatement(self._text(statement.name, scope), block, statement.range, via)
        raise AssertionError(statement)

    def _property(self, statement: ast.Property, scope: Variables, via: ast.Via | None) -> ast.Property:
        prop = scope.property(statement.key.text)
        if prop is None:  # the reader of properties reports it
            return ast.Property(statement.key, (), None, statement.range, via)
        values = tuple(
            self._value(prop, position, value, scope) for position, value in enumerate(statement.values)
        )
        block = statement.block
        if block is not None:
            inner = Variables(scope, known=prop.inner)
            block = ast.Block(tuple(self._unroll(block.statements, inner)), block.range)
        return ast.Property(statement.key, values, block, statement.range, via)

    def _value(
        self, prop: Property, position: int, value: ast.Expression, scope: Variables
    ) -> ast.Expression:
        if prop.is_verbatim(position) and isinstance(value, ast.Reference | ast.ListValue):
            return value
        if isinstance(value, ast.Pair | ast.Binary) and prop.is_text(position):
            self._expect_no_text(prop, value, scope)
        try:
            return self._evaluator.value(value, scope, prop.words)
        except Later as later:
            if prop.late:
                return ast.Late(value, scope, value.range)
            raise self._evaluator.fail(
                "E0313",
                f"`{prop.name}` cannot depend on an address",
                later.reference.range,
                "known only when the lab is laid out",
                quotes_for(value) if prop.is_text(position) else "",
            ) from None

    def _expect_no_text(self, prop: Property, value: ast.Expression, scope: Variables) -> None:
        """Say of `image nginx:1.27` and `build web/api` that a string is meant, where no word is a variable."""
        words = [word for word in bare_words(value) if scope.find(word) is None]
        if words and words == list(bare_words(value)) and (help := quotes_for(value)):
            raise self._evaluator.fail(
                "E0203", f"`{prop.name}` takes a string", value.range, "not in quotes", help
            )

    def _inner(self, block: ast.Block | None, scope: Variables, place: Place) -> ast.Block | None:
        if block is None:
            return None
        inner = Variables(scope, known=SCHEMA[place])
        return ast.Block(tuple(self._unroll(block.statements, inner)), block.range)

    def _text(self, string: ast.String, scope: Variables) -> ast.String:
        value = self._evaluator.value(string, scope)
        assert isinstance(value, ast.String)
        return value

    # Links

    def _link(self, statement: ast.LinkStatement, scope: Variables, via: ast.Via | None) -> ast.LinkStatement:
        left, right = self._end(statement.left, scope), self._end(statement.right, scope)
        block = statement.block
        if block is not None:
            both = {**SCHEMA[Place.END], **SCHEMA[Place.LINK]}
            known = SCHEMA[Place.LINK] if statement.right.block is not None else both
            inner = self._unroll(block.statements, Variables(scope, known=known))
            block = ast.Block(tuple(inner), block.range)
        layers: list[Sequence[ast.Statement]] = [
            self._unroll(d.block.statements, Variables(scope, known=SCHEMA[Place.LINK]))
            for d in self._link_defaults
        ]
        if layers:
            layers.append(block.statements if block is not None else ())
            place = block.range if block is not None else statement.range
            block = ast.Block(tuple(merge(layers, SCHEMA[Place.LINK])), place)
        return ast.LinkStatement(left, right, block, statement.range, via)

    def _vtep(self, statement: ast.VtepStatement, scope: Variables) -> ast.VtepStatement:
        return ast.VtepStatement(
            self._evaluator.indexed(statement.node, scope) if statement.node is not None else None,
            self._port(statement.port, scope),
            self._evaluator.indexed(statement.bridge, scope),
            statement.range,
            self._all_addresses(statement.addresses, scope),
        )

    def _all_addresses(self, values: Sequence[ast.Expression], scope: Variables) -> tuple[ast.Value, ...]:
        found: list[ast.Value] = []
        for expression in values:
            if isinstance(expression, ast.Address):
                found.append(expression)
            else:
                found += self._addresses(self._evaluator.value(expression, scope, _NONE))
        return tuple(found)

    def _end(self, end: ast.Endpoint, scope: Variables) -> ast.Endpoint:
        return ast.Endpoint(
            self._evaluator.indexed(end.node, scope),
            self._port(end.port, scope) if end.port is not None else None,
            self._all_addresses(end.values, scope),
            self._inner(end.block, scope, Place.END),
            end.range,
        )

    def _addresses(self, value: ast.Value) -> list[ast.Value]:
        """What an endpoint's value comes to: addresses, or the word `none`."""
        match value:
            case ast.Address():
                return [value]
            case ast.Reference(word="none"):
                return [value]
            case ast.String():
                try:
                    return [address_literal(value.text, value.range)]
                except ValueError:
                    raise self._evaluator.fail(
                        "E0105", f"`{value.text}` is not an IP address", value.range, "read as an address"
                    ) from None
            case ast.ListValue(items=items):
                return [
                    one for item in items if not isinstance(item, _ABSTRACT) for one in self._addresses(item)
                ]
            case ast.Reference(word=None):
                raise Later(value)
        word = value.word if isinstance(value, ast.Reference) else None
        raise self._evaluator.fail(
            "E0203",
            f"unexpected `{word}`" if word is not None else "an endpoint takes addresses",
            value.range,
            "expected an address, `none` or `--`",
        )

    def _port(self, port: ast.Word | ast.String, scope: Variables) -> ast.Word:
        if isinstance(port, ast.Word):
            return port
        return ast.Word(self._text(port, scope).text, port.range)

    def _direction(self, statement: ast.DirectionStatement, scope: Variables) -> ast.DirectionStatement:
        block = self._inner(statement.block, scope, Place.DIRECTION)
        assert block is not None
        left, right = statement.left, statement.right
        return ast.DirectionStatement(
            self._evaluator.indexed(left, scope) if left is not None else None,
            statement.arrow,
            self._evaluator.indexed(right, scope) if right is not None else None,
            block,
            statement.range,
        )

    def _pool(self, statement: ast.PoolStatement, scope: Variables, via: ast.Via | None) -> ast.PoolStatement:
        return ast.PoolStatement(
            self._evaluator.declared(statement.declared, scope),
            self._evaluator.value(statement.prefix, scope),
            self._evaluator.integer(statement.length, scope),
            statement.range,
            via,
        )

    # Expectations

    def _expect(
        self, statement: ast.ExpectStatement, scope: Variables, via: ast.Via | None
    ) -> ast.ExpectStatement:
        within = self._evaluator.value(statement.within, scope) if statement.within is not None else None
        return ast.ExpectStatement(
            statement.negated, self._claim(statement.claim, scope), within, statement.range, via
        )

    def _claim(self, claim: ast.Claim, scope: Variables) -> ast.Claim:
        evaluator = self._evaluator
        subject = evaluator.indexed(claim.subject, scope)
        match claim:
            case ast.Reaches():
                tcp = evaluator.integer(claim.tcp, scope) if claim.tcp is not None else None
                port = self._port(claim.port, scope) if claim.port is not None else None
                return ast.Reaches(subject, self._target(claim.target, scope), port, tcp)
            case ast.Runs():
                prints = self._late(claim.prints, scope) if claim.prints is not None else None
                return ast.Runs(subject, self._late(claim.command, scope), prints)
            case ast.Measured():
                target = self._target(claim.target, scope)
                bound = evaluator.value(claim.bound, scope)
                return ast.Measured(claim.quantity, subject, target, claim.comparison, bound)
            case ast.PathTaken():
                through = tuple(evaluator.indexed(node, scope) for node in claim.through)
                return ast.PathTaken(subject, self._target(claim.target, scope), through)

    def _target(self, target: ast.Expression, scope: Variables) -> ast.Value:
        """A node or an address; a node's name stays a reference."""
        value = self._evaluator.value(target, scope)
        if isinstance(value, ast.String):
            value = address_or_string(value)
        if not isinstance(value, ast.Reference | ast.Address):
            raise self._evaluator.fail(
                "E0203", "an expectation's target is a node, an endpoint or an address", target.range
            )
        return value

    def _late(self, value: ast.Expression, scope: Variables) -> ast.Value:
        try:
            return self._evaluator.value(value, scope)
        except Later:
            return ast.Late(value, scope, value.range)


def address_or_string(value: ast.String) -> ast.Value:
    """A string as the address that it spells, else as it is."""
    try:
        return address_literal(value.text, value.range)
    except ValueError:
        return value


_ABSTRACT = ast.Call | ast.Unary | ast.Binary | ast.Choice | ast.Group
