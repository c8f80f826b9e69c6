"""Pass 0: unrolls `param`, `let`, `for`, `if`, templates and defaults into plain statements with plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model import names
from vtopo.model.expressions import Evaluator, Unknown
from vtopo.model.functions import address_literal
from vtopo.model.params import Params
from vtopo.model.schema import SCHEMA, WORDS, Place
from vtopo.model.scope import Self, Variable, Variables
from vtopo.model.templates import merge

_VARIABLE_WORDS = frozenset({"none"})
_PLACES = {"host": Place.HOST, "bridge": Place.BRIDGE, "link": Place.LINK}


def expand(file: ast.File, settings: Mapping[str, str], diagnostics: Diagnostics) -> ast.File:
    """The file without abstractions; `settings` are the values that a run gives to params."""
    return ast.File(file.path, tuple(_Expansion(file, settings, diagnostics).statements()))


class _Expansion:
    def __init__(self, file: ast.File, settings: Mapping[str, str], diagnostics: Diagnostics) -> None:
        self._file = file
        self._settings = settings
        self._diagnostics = diagnostics
        self._evaluator = Evaluator(diagnostics)
        self._templates: dict[str, ast.TemplateStatement] = {}
        self._defaults: dict[str, list[ast.DefaultStatement]] = {}
        self._scope = Variables()
        self._active: list[ast.Block] = []
        self._made = 0

    def statements(self) -> Iterator[ast.Statement]:
        """The plain statements of the whole file."""
        for statement in self._file.statements:
            if isinstance(statement, ast.TemplateStatement):
                self._template(statement)
            elif isinstance(statement, ast.DefaultStatement):
                self._defaults.setdefault(statement.kind.text, []).append(statement)
        scope = self._scope
        Params(self._settings, self._evaluator, self._diagnostics).set(self._file, scope, self._variable)
        try:
            yield from self._block(self._file.statements, scope, top=True)
        except names.TooMany:
            place = self._file.statements[-1].range
            self._diagnostics.add(
                "E0309", "this lab has too many statements", place, f"over {names.MOST_NODES} once unrolled"
            )

    def _template(self, statement: ast.TemplateStatement) -> None:
        earlier = self._templates.setdefault(statement.name.text, statement)
        if earlier is not statement:
            self._twice(statement.name, earlier.name.range)

    def _twice(self, name: ast.Word, first: Range) -> None:
        self._diagnostics.add(
            "E0301",
            f"`{name.text}` is declared twice",
            name.range,
            "declared again here",
            others=[Label(first, "first declared here")],
        )

    # Variables

    def _declare(self, statements: Sequence[ast.Statement], scope: Variables) -> None:
        for statement in statements:
            if isinstance(statement, ast.LetStatement):
                self._variable(statement.name, statement.value, scope)

    def _variable(self, name: ast.Word, value: ast.Expression | None, scope: Variables) -> None:
        earlier = scope.find(name.text)
        if "-" in name.text:
            self._diagnostics.add(
                "E0312",
                f"the variable `{name.text}` has a hyphen",
                name.range,
                "a hyphen between variables is a minus",
                help=f"write `{name.text.replace('-', '_')}`",
            )
        elif earlier is not None:
            self._twice(name, earlier.name.range)
        else:
            scope.own[name.text] = Variable(name, value, scope)

    # Statements

    def _block(
        self, statements: Sequence[ast.Statement], scope: Variables, top: bool = False
    ) -> Iterator[ast.Statement]:
        if not top:
            self._declare(statements, scope)
        for statement in statements:
            try:
                yield from self._statement(statement, scope, top)
            except Unknown:
                continue
            except RecursionError:
                self._diagnostics.add("E0106", "an expression here is nested too deeply", statement.range)

    def _statement(self, statement: ast.Statement, scope: Variables, top: bool) -> Iterator[ast.Statement]:
        match statement:
            case ast.ForStatement():
                yield from self._for(statement, scope)
            case ast.IfStatement():
                yield from self._if(statement, scope)
            case ast.LetStatement():
                own = scope.own.get(statement.name.text)
                if own is not None:
                    self._evaluator.variable(own, statement.name.range)
            case ast.ParamStatement() | ast.TemplateStatement() | ast.DefaultStatement():
                if not top:
                    word = {ast.ParamStatement: "param", ast.TemplateStatement: "template"}.get(
                        type(statement), "default"
                    )
                    self._diagnostics.add(
                        "E0208", f"`{word}` stands outside of all blocks", statement.range, "not here"
                    )
            case ast.NodeStatement():
                yield from self._node(statement, scope)
            case _:
                self._count()
                yield self._plain(statement, scope)

    def _count(self) -> None:
        self._made += 1
        if self._made > names.MOST_NODES:
            raise names.TooMany

    def _for(self, statement: ast.ForStatement, scope: Variables) -> Iterator[ast.Statement]:
        yield from self._turns(statement.turns, statement.block, scope)

    def _turns(
        self, turns: tuple[ast.Turn, ...], block: ast.Block, scope: Variables
    ) -> Iterator[ast.Statement]:
        """The block once for each value of the first turn, with the others inside it."""
        if not turns:
            yield from self._block(block.statements, Variables(scope))
            return
        turn, *rest = turns
        for value in self._values(turn, scope):
            self._count()
            inner = Variables(scope)
            self._variable(turn.name, value, inner)
            yield from self._turns(tuple(rest), block, inner)

    def _values(self, turn: ast.Turn, scope: Variables) -> Iterable[ast.Expression]:
        values = self._evaluator.value(turn.values, scope)
        match values:
            case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)):
                if last - first >= names.MOST_NODES - self._made:
                    raise names.TooMany
                return (ast.Integer(n, turn.values.range) for n in range(first, last + 1))
            case ast.ListValue(items=items):
                return items
        raise self._evaluator.fail(
            "E0212", "`for` runs over a range or a list", turn.values.range, "such as 1..4 or [1, 3]"
        )

    def _if(self, statement: ast.IfStatement, scope: Variables) -> Iterator[ast.Statement]:
        if self._evaluator.switch(statement.condition, scope):
            yield from self._block(statement.then.statements, Variables(scope))
        elif isinstance(statement.otherwise, ast.IfStatement):
            yield from self._if(statement.otherwise, scope)
        elif statement.otherwise is not None:
            yield from self._block(statement.otherwise.statements, Variables(scope))

    # Nodes

    def _node(self, statement: ast.NodeStatement, scope: Variables) -> Iterator[ast.Statement]:
        declared = self._evaluator.declared(statement.declared, scope)
        variable = scope.find(declared.name.text) if not declared.indices else None
        if variable is not None:
            self._twice(declared.name, variable.name.range)
        sources = [d.block for d in self._defaults.get(statement.kind.text, ())]
        sources += self._template_blocks(statement.templates)
        sources += [statement.block] if statement.block is not None else []
        for each, self_ in self._each(declared, any(map(_names_self, sources))):
            self._count()
            inner = Variables(scope, self_=self_)
            # Templates and defaults see the file's variables and `self`, not those where they are used.
            shared = Variables(self._scope, self_=self_)
            layers = [
                self._layer(block, statement, inner if block is statement.block else shared)
                for block in sources
            ]
            merged = merge(layers, SCHEMA[_PLACES[statement.kind.text]])
            place = statement.block.range if statement.block is not None else declared.range
            block = ast.Block(tuple(merged), place) if sources else None
            yield ast.NodeStatement(statement.kind, each, (), block, statement.range)

    def _layer(self, block: ast.Block, node: ast.NodeStatement, scope: Variables) -> list[ast.Statement]:
        """The plain statements of one layer of a node's block."""
        if any(block is active for active in self._active):
            raise self._evaluator.fail(
                "E0311",
                f"`{node.declared.name.text}` is made by what it is part of",
                node.declared.range,
                "without end",
                others=(Label(block.range, "this holds a node that takes it again"),),
            )
        self._active.append(block)
        try:
            return list(self._block(block.statements, Variables(scope)))
        finally:
            self._active.pop()

    def _each(self, declared: ast.Declared, apart: bool) -> Iterator[tuple[ast.Declared, Self]]:
        """The declaration as it is, or one by one where a block says `self`."""
        if not apart or any(index.items is None for index in declared.indices):
            yield declared, Self(declared.name.text, ())
            return
        for name, indices in names.unroll(declared).items():
            one = tuple(
                ast.Index((ast.Integer(number, index.range),), index.range)
                for number, index in zip(indices, declared.indices, strict=True)
            )
            yield ast.Declared(declared.name, one, declared.range), Self(name, indices)

    def _template_blocks(
        self, wanted: Sequence[ast.Word], seen: set[str] | None = None, on_the_way: tuple[str, ...] = ()
    ) -> list[ast.Block]:
        """The blocks of templates from left to right, each once and after those that it extends."""
        blocks: list[ast.Block] = []
        seen = set() if seen is None else seen
        for name in wanted:
            template = self._templates.get(name.text)
            if template is None:
                help = did_you_mean(name.text, self._templates)
                raise self._evaluator.fail("E0310", f"unknown template `{name.text}`", name.range, help=help)
            if name.text in on_the_way:
                chain = " → ".join([*on_the_way, name.text])
                raise self._evaluator.fail("E0311", f"a template extends itself: {chain}", name.range)
            if name.text not in seen:
                blocks += self._template_blocks(template.bases, seen, (*on_the_way, name.text))
                blocks.append(template.block)
                seen.add(name.text)
        return blocks

    # Plain statements

    def _plain(self, statement: ast.Statement, scope: Variables) -> ast.Statement:
        match statement:
            case ast.Property():
                return self._property(statement, scope)
            case ast.LinkStatement():
                return self._link(statement, scope)
            case ast.LabStatement() | ast.OverlayStatement():
                return dataclasses.replace(statement, block=self._inner(statement.block, scope))
            case ast.VtepStatement():
                return ast.VtepStatement(
                    self._evaluator.indexed(statement.node, scope),
                    self._port(statement.port, scope),
                    self._evaluator.indexed(statement.bridge, scope),
                    statement.range,
                )
            case ast.ExpectStatement():
                return self._expect(statement, scope)
        raise AssertionError(statement)

    def _property(self, statement: ast.Property, scope: Variables) -> ast.Property:
        words = WORDS.get(statement.key.text, frozenset())
        values = tuple(self._evaluator.value(value, scope, words) for value in statement.values)
        return ast.Property(statement.key, values, self._inner(statement.block, scope), statement.range)

    def _inner(self, block: ast.Block | None, scope: Variables) -> ast.Block | None:
        if block is None:
            return None
        return ast.Block(tuple(self._block(block.statements, Variables(scope))), block.range)

    def _link(self, statement: ast.LinkStatement, scope: Variables) -> ast.LinkStatement:
        left, right = self._end(statement.left, scope), self._end(statement.right, scope)
        block = self._inner(statement.block, scope)
        layers: list[Sequence[ast.Statement]] = [
            list(self._block(d.block.statements, Variables(scope))) for d in self._defaults.get("link", ())
        ]
        if layers:
            layers.append(block.statements if block is not None else ())
            place = block.range if block is not None else statement.range
            block = ast.Block(tuple(merge(layers, SCHEMA[Place.LINK])), place)
        return ast.LinkStatement(left, right, block, statement.range)

    def _end(self, end: ast.Endpoint, scope: Variables) -> ast.Endpoint:
        values: list[ast.Value] = []
        for expression in end.values:
            value = self._evaluator.value(expression, scope, _VARIABLE_WORDS)
            values += self._addresses(value)
        return ast.Endpoint(
            self._evaluator.indexed(end.node, scope),
            self._port(end.port, scope) if end.port is not None else None,
            tuple(values),
            self._inner(end.block, scope),
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
        text = self._evaluator.value(port, scope)
        assert isinstance(text, ast.String)
        return ast.Word(text.text, port.range)

    def _expect(self, statement: ast.ExpectStatement, scope: Variables) -> ast.ExpectStatement:
        target = statement.target
        if isinstance(target, ast.Reference):
            value = self._evaluator.value(target, scope)
            if not isinstance(value, ast.Reference | ast.Address):
                raise self._evaluator.fail(
                    "E0203", "an expectation's target is a node, an endpoint or an address", target.range
                )
            target = value
        clauses = tuple(
            ast.Clause(c.key, self._evaluator.value(c.value, scope), c.range) for c in statement.clauses
        )
        return dataclasses.replace(
            statement,
            subject=self._evaluator.indexed(statement.subject, scope),
            target=target,
            port=self._port(statement.port, scope) if statement.port is not None else None,
            clauses=clauses,
        )


_ABSTRACT = ast.Call | ast.Unary | ast.Binary | ast.Choice | ast.Group


def _names_self(block: ast.Block) -> bool:
    """Whether `self` stands anywhere in a block."""
    pending: list[object] = [block]
    while pending:
        value = pending.pop()
        if isinstance(value, ast.Reference) and value.parts[0].name.text == "self":
            return True
        if isinstance(value, tuple):
            pending.extend(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, Range | ast.Word):
            pending.extend(getattr(value, field.name) for field in dataclasses.fields(value))
    return False
