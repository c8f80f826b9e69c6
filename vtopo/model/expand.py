"""Pass 0: unrolls params, variables, loops, conditions, files, templates and defaults into plain statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.lang.syntax_errors import RESERVED
from vtopo.model import names
from vtopo.model.expressions import Evaluator, Later, Unknown
from vtopo.model.modules import Modules
from vtopo.model.params import Params
from vtopo.model.plain import Plain
from vtopo.model.schema import KIND_PLACES, SCHEMA
from vtopo.model.scope import Self, Variable, Variables
from vtopo.model.templates import merge
from vtopo.model.turns import least_turns
from vtopo.model.walk import mentioned, names_self
from vtopo.values import dataclass

_TOP_ONLY = {
    ast.ParamStatement: "param",
    ast.TemplateStatement: "template",
    ast.DefaultStatement: "default",
    ast.MachineStatement: "machine",
    ast.LabStatement: "lab",
}
_LIBRARY = (
    *(ast.TemplateStatement, ast.LetStatement, ast.ParamStatement, ast.UseStatement, ast.LabStatement),
    ast.DefaultStatement,
)
"""What a file may hold that is used without a name."""


def expand(
    file: ast.File, settings: Mapping[str, str], modules: Modules, diagnostics: Diagnostics
) -> ast.File:
    """The file without abstractions; `settings` are the values that a run gives to params."""
    run = _Run(modules, diagnostics)
    expansion = _Expansion(file, run, (file.path,))
    expansion.params.set(settings)
    statements: list[ast.Statement] = []
    try:
        for statement in expansion.statements():
            statements.append(statement)
    except names.TooMany:
        if len(statements) > names.MOST_STATEMENTS // 20:
            statements.clear()  # what is refused needs no names, addresses and links
        place = run.at or Range(file.path, 1, 1, 1, 1)
        diagnostics.add(
            "E0309", "this lab has too many statements", place, f"over {names.MOST_STATEMENTS} once unrolled"
        )
    except RecursionError:
        diagnostics.add("E0106", "this is nested too deeply", run.at or Range(file.path, 1, 1, 1, 1))
    diagnostics.via = None
    if not diagnostics.failed:
        run.unused(file)
    return ast.File(file.path, tuple(statements))


@dataclass(slots=True)
class _Template:
    """A template, and the variables of the file that it stands in."""

    statement: ast.TemplateStatement
    scope: Variables


@dataclass(slots=True)
class _Run:
    """What the files of one lab share: how much was made, and what may turn out to be unused."""

    modules: Modules
    diagnostics: Diagnostics
    made: int = 0
    at: Range | None = None
    templates: list[_Template] = field(default_factory=list)
    params: list[Variable] = field(default_factory=list)

    def count(self, place: Range) -> None:
        """One more statement or turn; TooMany past what a lab may have."""
        self.at = place
        self.made += 1
        if self.made > names.MOST_STATEMENTS:
            raise names.TooMany

    def unused(self, file: ast.File) -> None:
        """Warn of what is declared for nothing; what stands in a branch that was not taken is used."""
        if not self.templates and not self.params:
            return
        if all(isinstance(statement, _LIBRARY) for statement in file.statements):
            return  # a library by itself: other files use it
        named_words = frozenset(mentioned(file.statements))
        named = [("template", template.statement.name) for template in self.templates]
        for what, name in [*named, *(("param", param.name) for param in self.params)]:
            if name.text not in named_words:
                self.diagnostics.add("W0602", f"the {what} `{name.text}` is not used", name.range)


class _Expansion:
    """The statements of one file; `chain` are the files that led to it, itself the last."""

    def __init__(self, file: ast.File, run: _Run, chain: tuple[str, ...], via: ast.Via | None = None) -> None:
        self._file = file
        self._run = run
        self._chain = chain
        self._diagnostics = run.diagnostics
        self._evaluator = Evaluator(run.diagnostics)
        self._templates: dict[str, _Template] = {}
        self._defaults: dict[str, list[ast.DefaultStatement]] = {}
        self._active: list[ast.Block] = []
        self._via = via
        self._link_defaults: list[ast.DefaultStatement] = []
        self._plain = Plain(self._evaluator, self._unroll, self._link_defaults)
        self.scope = Variables()
        self.params = Params(file, self.scope, self._variable, self._evaluator, run.diagnostics)
        run.diagnostics.via = via

    def statements(self) -> Iterator[ast.Statement]:
        """The plain statements of the whole file."""
        self.declare()
        yield from self._block(self._file.statements, self.scope, top=True)

    def declare(self) -> None:
        """Declare what can be seen in all of the file: its templates, defaults, variables, and libraries."""
        if len(self._chain) == 1:
            self._run.params += self.params.declared()
        for statement in self._file.statements:
            if isinstance(statement, ast.TemplateStatement):
                self._template(statement.name, _Template(statement, self.scope))
            elif isinstance(statement, ast.DefaultStatement):
                self._defaults.setdefault(statement.kind.text, []).append(statement)
            elif isinstance(statement, ast.UseStatement) and statement.declared is None:
                self._library(statement)
        self._link_defaults += self._defaults.get("link", ())

    def _template(self, name: ast.Word, template: _Template) -> None:
        earlier = self._templates.setdefault(name.text, template)
        if earlier is not template:
            self._twice(name, earlier.statement.name.range)
        elif len(self._chain) == 1 and template.statement.range.path == self._file.path:
            self._run.templates.append(template)

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
        elif name.text in RESERVED:
            self._diagnostics.add(
                "E0301", f"`{name.text}` is a word of the language", name.range, "not a name"
            )
        elif earlier is not None:
            self._twice(name, earlier.name.range)
        else:
            scope.own[name.text] = Variable(name, value, scope)
            self._diagnostics.variables.add(name.text)

    # Statements

    def _unroll(self, statements: Sequence[ast.Statement], scope: Variables) -> list[ast.Statement]:
        return list(self._block(statements, scope))

    def _block(
        self, statements: Sequence[ast.Statement], scope: Variables, top: bool = False
    ) -> Iterator[ast.Statement]:
        if not top:
            self._declare(statements, scope)
        for statement in statements:
            self._diagnostics.via = self._via
            try:
                yield from self._statement(statement, scope, top)
            except Unknown:
                if isinstance(statement, ast.Property):
                    self._diagnostics.unread.add(statement.key.text)
                continue
            except Later as later:
                self._diagnostics.add(
                    "E0313",
                    "what exists cannot depend on an address",
                    later.reference.range,
                    "known only when the lab is laid out",
                    help="an address may be used in values, such as those of `route`, `env`, `file` and `run`",
                )

    def _statement(self, statement: ast.Statement, scope: Variables, top: bool) -> Iterator[ast.Statement]:
        word = _TOP_ONLY.get(type(statement))
        if word is not None and not top:
            self._diagnostics.add(
                "E0208", f"`{word}` stands outside of all blocks", statement.range, "not here"
            )
            return
        match statement:
            case ast.ForStatement():
                most = names.MOST_STATEMENTS - self._run.made
                if least_turns(statement, scope, most) > most:
                    self._run.at = statement.turns[0].values.range
                    raise names.TooMany
                yield from self._turns(statement.turns, statement, scope, ())
            case ast.IfStatement():
                yield from self._if(statement, scope)
            case ast.LetStatement():
                own = scope.own.get(statement.name.text)
                if own is not None:
                    self._let(own)
            case ast.ParamStatement() | ast.TemplateStatement() | ast.DefaultStatement():
                return
            case ast.UseStatement():
                yield from self._use(statement, scope, top)
            case ast.Assignment():
                self._diagnostics.add(
                    "E0208",
                    f"`{statement.name.text} = …` gives a module's param its value",
                    statement.range,
                    "only in the block of `use`",
                    help=f"a property is written `{statement.name.text} …`, a variable `let {statement.name.text} = …`",
                )
            case ast.NodeStatement():
                yield from self._node(statement, scope)
            case _:
                self._run.count(statement.range)
                plain = self._plain.statement(statement, scope, self._via)
                if isinstance(plain, ast.OverlayStatement | ast.PoolStatement):
                    self._no_variable(plain.declared, scope)
                yield plain

    def _let(self, variable: Variable) -> None:
        try:
            self._evaluator.variable(variable, variable.name.range)
        except Later:
            return  # worked out where it is used

    def _turns(
        self,
        turns: tuple[ast.Turn, ...],
        loop: ast.ForStatement,
        scope: Variables,
        names_: tuple[tuple[str, ast.Expression], ...],
    ) -> Iterator[ast.Statement]:
        """The block once for each value of the first turn, with the others inside it."""
        if not turns:
            outer = self._via
            self._via = ast.Via("`for`", names_, loop.range, outer)
            try:
                yield from self._block(loop.block.statements, Variables(scope))
            finally:
                self._via = outer
            return
        turn, *rest = turns
        for value in self._values(turn, scope):
            self._run.count(turn.name.range)
            inner = Variables(scope)
            self._variable(turn.name, value, inner)
            yield from self._turns(tuple(rest), loop, inner, (*names_, (turn.name.text, value)))

    def _values(self, turn: ast.Turn, scope: Variables) -> Iterable[ast.Expression]:
        values = self._evaluator.value(turn.values, scope)
        match values:
            case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)):
                if last - first >= names.MOST_STATEMENTS - self._run.made:
                    self._run.at = turn.values.range
                    raise names.TooMany
                return (ast.Integer(n, turn.values.range) for n in range(first, last + 1))
            case ast.ListValue(items=items):
                return items
            case ast.Reference():
                self._evaluator.known(values, scope)
        raise self._evaluator.fail(
            "E0212", "`for` runs over a range or a list", turn.values.range, "such as 1..4 or [1, 3]"
        )

    def _if(self, statement: ast.IfStatement, scope: Variables) -> Iterator[ast.Statement]:
        chosen: ast.Block | ast.IfStatement | None = statement
        while isinstance(chosen, ast.IfStatement):
            taken = self._evaluator.switch(chosen.condition, scope)
            chosen = chosen.then if taken else chosen.otherwise
        if chosen is not None:
            yield from self._block(chosen.statements, Variables(scope))

    def _no_variable(self, declared: ast.Declared, scope: Variables) -> None:
        """Report a name that a variable has already; nodes, overlays and pools share one space with them."""
        base = declared.name.text
        if any(index.items is None for index in declared.indices):
            return
        for name in scope.names():
            if (
                name == base
                if not declared.indices
                else name.startswith(base) and name in names.unroll(declared)
            ):
                variable = scope.find(name)
                assert variable is not None
                self._twice(ast.Word(name, declared.range), variable.name.range)

    # Files

    def _arguments(self, statement: ast.UseStatement, scope: Variables) -> dict[str, ast.Expression]:
        """The values that the block of a `use` gives."""
        given: dict[str, ast.Expression] = {}
        for inner in statement.block.statements if statement.block is not None else ():
            if not isinstance(inner, ast.Assignment):
                self._diagnostics.add(
                    "E0208", "the block of `use` holds `NAME = VALUE` only", inner.range, "not here"
                )
            elif inner.name.text in given:
                self._twice(inner.name, given[inner.name.text].range)
            else:
                given[inner.name.text] = self._evaluator.known(inner.value, scope)
        return given

    def _library(self, statement: ast.UseStatement) -> None:
        """Take over the templates and variables of a file."""
        file = self._run.modules.load(statement.source.text, statement.source.range, self._chain)
        if file is None:
            return
        library = _Expansion(file, self._run, (*self._chain, file.path), self._via)
        try:
            library.params.give(self._arguments(statement, self.scope), statement.range)
        except Unknown:
            return
        for inner in file.statements:
            if not isinstance(inner, _LIBRARY):
                self._diagnostics.add(
                    "E0702",
                    "a file without a name gives its templates and variables only",
                    statement.range,
                    "used here without `as`",
                    others=[Label(inner.range, "this would not be made")],
                    help="write `as NAME` to have its nodes",
                )
                return
        library.declare()
        for name, template in library._templates.items():
            self._template(ast.Word(name, template.statement.name.range), template)
        for name, variable in library.scope.own.items():
            earlier = self.scope.own.setdefault(name, variable)
            if earlier is not variable:
                self._twice(earlier.name, variable.name.range)

    def _use(self, statement: ast.UseStatement, scope: Variables, top: bool) -> Iterator[ast.Statement]:
        if statement.declared is None:
            if not top:
                self._diagnostics.add(
                    "E0208", "`use` without a name stands outside of all blocks", statement.range, "not here"
                )
            return
        declared = self._evaluator.declared(statement.declared, scope)
        self._no_variable(declared, scope)
        given = self._arguments(statement, scope)
        source = self._evaluator.value(statement.source, scope)
        assert isinstance(source, ast.String)
        file = self._run.modules.load(source.text, source.range, self._chain)
        if file is None:
            return
        for each, named in self._each(declared, True):
            self._run.count(statement.range)
            via = ast.Via(f"the module `{named.name}`", (), statement.range, self._via)
            module = _Expansion(file, self._run, (*self._chain, file.path), via)
            module.params.give(given, statement.range)
            block = ast.Block(
                tuple(s for s in module.statements() if not isinstance(s, ast.LabStatement)), statement.range
            )
            kind = ast.Word("module", statement.range)
            yield ast.NodeStatement(kind, each, (), None, block, statement.range, via)

    # Nodes

    def _node(self, statement: ast.NodeStatement, scope: Variables) -> Iterator[ast.Statement]:
        declared = self._evaluator.declared(statement.declared, scope)
        self._no_variable(declared, scope)
        layers = [_Layer(d.block, self.scope, "") for d in self._defaults.get(statement.kind.text, ())]
        layers += self._template_layers(statement.templates)
        if statement.block is not None:
            layers.append(_Layer(statement.block, scope, ""))
        known = SCHEMA[KIND_PLACES[statement.kind.text]]
        for each, self_ in self._each(declared, any(names_self(layer.block) for layer in layers)):
            self._run.count(declared.range)
            found = [
                self._layer(layer, statement, Variables(layer.scope, self_=self_, known=known))
                for layer in layers
            ]
            place = statement.block.range if statement.block is not None else declared.range
            block = ast.Block(tuple(merge(found, known)), place) if layers else None
            yield ast.NodeStatement(
                statement.kind, each, (), statement.machine, block, statement.range, self._via
            )

    def _layer(self, layer: _Layer, node: ast.NodeStatement, scope: Variables) -> list[ast.Statement]:
        """The plain statements of one layer of a node's block."""
        if any(layer.block is active for active in self._active):
            raise self._evaluator.fail(
                "E0311",
                f"`{node.declared.name.text}` is made by what it is part of",
                node.declared.range,
                "without end",
                others=(Label(layer.block.range, "this holds a node that takes it again"),),
            )
        self._active.append(layer.block)
        outer = self._via
        if layer.template:
            words = f"the template `{layer.template}`, used by `{node.declared.name.text}`"
            self._via = ast.Via(words, (), node.declared.range, outer)
        try:
            return list(self._block(layer.block.statements, Variables(scope)))
        finally:
            self._active.pop()
            self._via = outer

    def _each(self, declared: ast.Declared, apart: bool) -> Iterator[tuple[ast.Declared, Self]]:
        """The declaration as it is, or one by one where a block says `self`."""
        if not apart or any(index.items is None for index in declared.indices):
            yield declared, Self(declared.name.text, ())
            return
        for name, indices in names.unroll(declared).items():
            one = tuple(
                ast.Index((_literal(number, index.range),), index.range)
                for number, index in zip(indices, declared.indices, strict=True)
            )
            yield ast.Declared(declared.name, one, declared.range), Self(name, indices)

    def _template_layers(
        self, wanted: Sequence[ast.Word], seen: set[str] | None = None, on_the_way: tuple[str, ...] = ()
    ) -> list[_Layer]:
        """The blocks of templates from left to right, each once and after those that it extends."""
        layers: list[_Layer] = []
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
                layers += self._template_layers(template.statement.bases, seen, (*on_the_way, name.text))
                layers.append(_Layer(template.statement.block, template.scope, name.text))
                seen.add(name.text)
        return layers


@dataclass(frozen=True, slots=True)
class _Layer:
    """One of the blocks that make a node, the variables that it sees, and the template that it is of."""

    block: ast.Block
    scope: Variables
    template: str


def _literal(index: int | str, place: Range) -> ast.Expression:
    return ast.String((index,), place) if isinstance(index, str) else ast.Integer(index, place)
