"""Params: their values, from the file or from outside, checked against what each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.parser import parse_expression
from vtopo.lang.source import Range, Source
from vtopo.lang.suggest import did_you_mean
from vtopo.model.expressions import Evaluator, Later, Unknown
from vtopo.model.scope import Variable, Variables

Declare: TypeAlias = Callable[[ast.Word, "ast.Expression | None", Variables], None]
"""Puts a variable into a scope, or says why it cannot be there."""


def setting_source(name: str, text: str) -> Source:
    """A param's value from outside as a source of its own, for diagnostics to point into."""
    return Source(f"--set {name}", text)


class Params:
    """The params and variables of one file; `set` or `give` has the values that come from outside."""

    def __init__(
        self,
        file: ast.File,
        scope: Variables,
        declare: Declare,
        evaluator: Evaluator,
        diagnostics: Diagnostics,
    ) -> None:
        self._file = file
        self._scope = scope
        self._declare = declare
        self._evaluator = evaluator
        self._diagnostics = diagnostics
        self._params: dict[str, ast.ParamStatement] = {}

    def declared(self) -> list[Variable]:
        """The params as variables."""
        return [self._scope.own[name] for name in self._params if name in self._scope.own]

    def set(self, settings: Mapping[str, str]) -> None:
        """Declare the file's params and variables; `settings` are values by the user, as text."""
        self._declare_all()
        for name, text in settings.items():
            source = setting_source(name, text)
            if name not in self._params:
                here = Range(source.path, 1, 1, 1, len(text) + 1)
                help = did_you_mean(name, self._params, "the lab has no params" if not self._params else "")
                self._diagnostics.add("E0210", f"there is no param `{name}`", here, help=help)
                continue
            value = self._from_outside(source, self._params[name])
            if value is not None:
                self._scope.own[name] = Variable(self._params[name].name, value, self._scope)
        for statement in self._params.values():
            self._check(statement, f"give one with --set {statement.name.text}=…", statement.name.range)

    def give(self, given: Mapping[str, ast.Expression], place: Range) -> None:
        """Declare the file's params and variables; `given` are the values of a `use` at `place`."""
        self._declare_all()
        for name, value in given.items():
            if name not in self._params:
                has = f"it has {', '.join(self._params)}" if self._params else "the file has no params"
                help = did_you_mean(name, self._params, has)
                self._diagnostics.add("E0210", f"there is no param `{name}`", value.range, help=help)
                continue
            self._scope.own[name] = Variable(self._params[name].name, value, self._scope)
        for statement in self._params.values():
            self._check(statement, f"write `{statement.name.text} = …` in the block of `use`", place)

    def _declare_all(self) -> None:
        for statement in self._file.statements:
            if isinstance(statement, ast.ParamStatement):
                self._declare(statement.name, statement.default, self._scope)
                self._params.setdefault(statement.name.text, statement)
        for statement in self._file.statements:
            if isinstance(statement, ast.LetStatement):
                self._declare(statement.name, statement.value, self._scope)

    def _from_outside(self, source: Source, statement: ast.ParamStatement) -> ast.Expression | None:
        """A value from outside as an expression: for a param whose default is a string, its text as it is."""
        if statement.default is not None and not source.text.startswith('"'):
            try:
                default = self._evaluator.value(statement.default, self._scope)
            except (Unknown, Later):
                return None
            if isinstance(default, ast.String):
                return ast.String((source.text,), Range(source.path, 1, 1, 1, len(source.text) + 1))
        return parse_expression(source, self._diagnostics)

    def _check(self, statement: ast.ParamStatement, how: str, place: Range) -> None:
        name = statement.name.text
        set_ = self._scope.own.get(name)
        if set_ is None:  # refused when it was declared
            return
        if set_.expression is None:
            others = [Label(statement.name.range, "the param")] if place is not statement.name.range else []
            self._diagnostics.add(
                "E0210",
                f"the param `{name}` has no value",
                place,
                "no default, and not set",
                others=others,
                help=f"write `param {name} = …`, or {how}",
            )
            return
        try:
            value = self._evaluator.variable(set_, statement.name.range)
            if set_.expression is not statement.default and statement.default is not None:
                default = self._evaluator.value(statement.default, self._scope)
                if type(default) is not type(value):
                    raise self._evaluator.fail(
                        "E0211",
                        f"the param `{name}` takes another type of value",
                        value.range,
                        "this value",
                        others=(Label(default.range, "its default"),),
                    )
            if statement.within is not None:
                self._bounds(statement, value)
        except Unknown:
            set_.failed, set_.value = True, None
        except Later as later:
            set_.failed, set_.value = True, None
            self._evaluator.fail("E0313", "a param cannot depend on an address", later.reference.range)

    def _bounds(self, statement: ast.ParamStatement, value: ast.Value) -> None:
        assert statement.within is not None
        within = self._evaluator.value(statement.within, self._scope)
        match within, value:
            case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)), ast.Integer():
                fits = first <= value.value <= last
            case ast.ListValue(items=items), _:
                fits = any(type(i) is type(value) and self._same(i, value) for i in items)
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

    def _same(self, one: ast.Expression, other: ast.Value) -> bool:
        equal = ast.Binary("==", one, other, other.range)
        return self._evaluator.switch(equal, self._scope)


__all__ = ["Params", "setting_source"]
