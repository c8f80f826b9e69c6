"""Params: their values, from the file or from outside, checked against what each takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.parser import parse_expression
from vtopo.lang.source import Range, Source
from vtopo.lang.suggest import did_you_mean
from vtopo.model.expressions import Evaluator, Unknown
from vtopo.model.scope import Variable, Variables

Declare: TypeAlias = Callable[[ast.Word, "ast.Expression | None", Variables], None]
"""Puts a variable into a scope, or says why it cannot be there."""


def setting_source(name: str, text: str) -> Source:
    """A param's value from outside as a source of its own, for diagnostics to point into."""
    return Source(f"--set {name}", text)


class Params:
    """The params of one file, and the `settings` that a run gives them."""

    def __init__(self, settings: Mapping[str, str], evaluator: Evaluator, diagnostics: Diagnostics) -> None:
        self._settings = settings
        self._evaluator = evaluator
        self._diagnostics = diagnostics

    def set(self, file: ast.File, scope: Variables, declare: Declare) -> None:
        """Declare the params, with the values that were set from outside in place of their defaults."""
        params: dict[str, ast.ParamStatement] = {}
        for statement in file.statements:
            if isinstance(statement, ast.ParamStatement):
                declare(statement.name, statement.default, scope)
                params.setdefault(statement.name.text, statement)
        for statement in file.statements:
            if isinstance(statement, ast.LetStatement):
                declare(statement.name, statement.value, scope)
        for name, text in self._settings.items():
            source = setting_source(name, text)
            if name not in params:
                here = Range(source.path, 1, 1, 1, len(text) + 1)
                help = did_you_mean(name, params, "the lab has no params" if not params else "")
                self._diagnostics.add("E0210", f"there is no param `{name}`", here, help=help)
                continue
            value = self._from_outside(source, params[name], scope)
            if value is not None:
                scope.own[name] = Variable(params[name].name, value, scope)
        for statement in params.values():
            self._param(statement, scope)

    def _from_outside(
        self, source: Source, statement: ast.ParamStatement, scope: Variables
    ) -> ast.Expression | None:
        """A value from outside as an expression: for a param whose default is a string, its text as it is."""
        if statement.default is not None and not source.text.startswith('"'):
            try:
                default = self._evaluator.value(statement.default, scope)
            except Unknown:
                return None
            if isinstance(default, ast.String):
                return ast.String((source.text,), Range(source.path, 1, 1, 1, len(source.text) + 1))
        return parse_expression(source, self._diagnostics)

    def _param(self, statement: ast.ParamStatement, scope: Variables) -> None:
        name = statement.name.text
        set_ = scope.own.get(name)
        if set_ is None:  # refused when it was declared
            return
        if set_.expression is None:
            self._diagnostics.add(
                "E0210",
                f"the param `{name}` has no value",
                statement.name.range,
                "no default, and not set",
                help=f"write `param {name} = …`, or give one with --set {name}=…",
            )
            return
        try:
            value = self._evaluator.variable(set_, statement.name.range)
            if set_.expression is not statement.default and statement.default is not None:
                default = self._evaluator.value(statement.default, scope)
                if type(default) is not type(value):
                    raise self._evaluator.fail(
                        "E0211",
                        f"the param `{name}` takes another type of value",
                        value.range,
                        "this value",
                        others=(Label(default.range, "its default"),),
                    )
            if statement.within is not None:
                self._bounds(statement, value, scope)
        except Unknown:
            set_.failed, set_.value = True, None

    def _bounds(self, statement: ast.ParamStatement, value: ast.Value, scope: Variables) -> None:
        assert statement.within is not None
        within = self._evaluator.value(statement.within, scope)
        match within, value:
            case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)), ast.Integer():
                fits = first <= value.value <= last
            case ast.ListValue(items=items), _:
                fits = any(type(i) is type(value) and _same(i, value) for i in items)
            case _:
                raise self._evaluator.fail(
                    "E0212", "a param's values are a range or a list", statement.within.range
                )
        if not fits:
            self._diagnostics.add(
                "E0211",
                f"the value of `{statement.name.text}` is not one that it takes",
                value.range,
                "this value",
                others=[Label(statement.within.range, "its values")],
            )


def _same(one: ast.Expression, other: ast.Expression) -> bool:
    blank = Range("", 0, 0, 0, 0)
    return dataclasses.replace(one, range=blank) == dataclasses.replace(other, range=blank)
