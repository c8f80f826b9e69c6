"""What one outermost statement declares and names, with the block that each stands in.

Places count from the start of the statement's chunk, so that they hold wherever that stands.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import field, replace
from typing import TypeAlias

from vtopo.editor import properties
from vtopo.editor.properties import Known
from vtopo.lang import ast
from vtopo.lang.source import Range
from vtopo.model.schema import SCHEMA, Place
from vtopo.values import dataclass


class Role(enum.Enum):
    """What a name is the name of."""

    LAB = "lab"
    NODE = "node"
    OVERLAY = "overlay"
    POOL = "pool"
    MODULE = "module"
    VARIABLE = "variable"
    TEMPLATE = "template"
    MACHINE = "machine"
    INTERFACE = "interface"


Owner: TypeAlias = tuple[str, ...]
"""The block that a name belongs to: the path of the node, `template NAME` or `default KIND`; () is the file."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a chunk: lines from 0, columns from 1, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int

    def holds(self, line: int, column: int) -> bool:
        """Whether a place is in it, or just behind it."""
        return (self.line, self.column) <= (line, column) <= (self.end_line, self.end_column)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A name that a statement gives: `kind` is the statement's first word, `whole` the statement's span.

    `indexed`: whether it names several (`h[1..3]`). `templates` are those that it takes. `scope` is where a
    variable can be seen; None is the whole file.
    """

    role: Role
    name: str
    owner: Owner
    kind: str
    span: Span
    whole: Span
    indexed: bool = False
    templates: tuple[str, ...] = ()
    scope: Span | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One word of a dotted name."""

    text: str
    span: Span
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """A dotted name somewhere in a statement.

    `role` is what it names where that follows from its place; elsewhere it is looked up. `bound` is the variable of
    the same chunk that it means. `port` is the interface after a colon; `makes`: whether this place makes it.
    """

    parts: tuple[Part, ...]
    inside: Owner
    role: Role | None = None
    bound: Declaration | None = None
    port: Part | None = None
    makes: bool = False

    @property
    def words(self) -> tuple[Part, ...]:
        """All of its words."""
        return (*self.parts, self.port) if self.port is not None else self.parts


@dataclass(frozen=True, slots=True)
class UsedFile:
    """A file that is used, as it is named; `name` is empty where it is a library."""

    path: str
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement in the outline: its first word, the span that it is shown by, and its own; `depth` counts blocks."""

    kind: str
    label: Span
    whole: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a chunk, in the order of the text; `broken` is the first line that does not parse."""

    declarations: tuple[Declaration, ...] = ()
    uses: tuple[Use, ...] = ()
    files: tuple[UsedFile, ...] = ()
    entries: tuple[Entry, ...] = ()
    blocks: tuple[Span, ...] = ()
    broken: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: in whose block, what can stand there, with which variables of the chunk in sight."""

    inside: Owner = ()
    known: Known = field(default_factory=lambda: properties.NOTHING)
    variables: dict[str, Declaration] = field(default_factory=dict)
    depth: int = 0


def facts(statements: tuple[ast.Statement, ...], first_line: int, broken: int | None = None) -> Facts:
    """The facts of a chunk's statements, where the chunk begins on line `first_line` of what was parsed."""
    walk = _Walk(first_line)
    for statement in statements:
        walk.statement(statement, _Place())
    return Facts(
        tuple(walk.declarations),
        tuple(walk.uses),
        tuple(walk.files),
        tuple(walk.entries),
        tuple(walk.blocks),
        broken,
    )


class _Walk:
    """Goes through a tree by the fields of its nodes; only what gives names or opens a block is known by its type."""

    def __init__(self, first_line: int) -> None:
        self._first = first_line
        self.declarations: list[Declaration] = []
        self.uses: list[Use] = []
        self.files: list[UsedFile] = []
        self.entries: list[Entry] = []
        self.blocks: list[Span] = []

    def _span(self, range: Range) -> Span:
        first = self._first
        return Span(range.line - first, range.column, range.end_line - first, range.end_column)

    # Statements

    def statement(self, statement: ast.Statement, at: _Place) -> None:
        """Note what one statement says."""
        self._entry(statement, at)
        match statement:
            case ast.NodeStatement():
                self._node(statement, at)
            case ast.LinkStatement():
                self._child(statement.left, at)
                self._child(statement.right, at)
                self._block(statement.block, replace(at, known=properties.LINK))
            case ast.UseStatement():
                self._use(statement, at)
            case ast.TemplateStatement():
                bases = tuple(base.text for base in statement.bases)
                self._declare(Role.TEMPLATE, statement.name, statement, at, "template", bases)
                self._names(Role.TEMPLATE, statement.bases, at)
                inside = (f"template {statement.name.text}",)
                self._block(statement.block, replace(at, inside=inside, known=properties.TEMPLATE))
            case ast.DefaultStatement():
                kind = statement.kind.text
                inside = (f"default {kind}",)
                self._block(statement.block, replace(at, inside=inside, known=properties.of_kind(kind)))
            case ast.ForStatement():
                self._for(statement, at)
            case ast.Property():
                self._property(statement, at)
            case _:
                self._other(statement, at)

    def _entry(self, statement: ast.Statement, at: _Place) -> None:
        match statement:
            case ast.NodeStatement():
                shown: tuple[str, Range] | None = statement.kind.text, statement.declared.range
            case ast.LabStatement():
                shown = "lab", statement.name.range
            case ast.LinkStatement(left=left, right=right):
                shown = "link", left.node.range.to(right.node.range)
            case ast.OverlayStatement() | ast.PoolStatement():
                shown = (
                    "overlay" if isinstance(statement, ast.OverlayStatement) else "pool",
                    statement.declared.range,
                )
            case ast.TemplateStatement() | ast.ParamStatement() | ast.LetStatement() | ast.MachineStatement():
                shown = _NAMED[type(statement)], statement.name.range
            case ast.ScenarioStatement():
                shown = "scenario", statement.name.range
            case ast.UseStatement(source=source, declared=declared):
                shown = "use", declared.range if declared is not None else source.range
            case ast.ForStatement(turns=turns):
                shown = "for", turns[0].range.to(turns[-1].range)
            case ast.DefaultStatement():
                shown = "default", statement.kind.range
            case _:
                shown = None
        if shown is not None:
            self.entries.append(Entry(shown[0], self._span(shown[1]), self._span(statement.range), at.depth))

    def _other(self, statement: ast.Statement, at: _Place) -> None:
        """Statements that have a name at most, and a block."""
        match statement:
            case ast.LabStatement():
                self._declare(Role.LAB, statement.name, statement, at, "lab")
                at = replace(at, known=SCHEMA[Place.LAB])
            case ast.OverlayStatement():
                self._declare(Role.OVERLAY, statement.declared, statement, at, "overlay")
                at = replace(at, known=SCHEMA[Place.OVERLAY])
            case ast.PoolStatement():
                self._declare(Role.POOL, statement.declared, statement, at, "pool")
            case ast.MachineStatement():
                self._declare(Role.MACHINE, statement.name, statement, at, "machine")
                at = replace(at, known=SCHEMA[Place.MACHINE])
            case ast.ScenarioStatement():
                at = replace(at, known=SCHEMA[Place.SCENARIO])
            case ast.DirectionStatement():
                at = replace(at, known=SCHEMA[Place.DIRECTION])
            case ast.ParamStatement() | ast.LetStatement() if not at.depth:
                word = "param" if isinstance(statement, ast.ParamStatement) else "let"
                self._declare(Role.VARIABLE, statement.name, statement, at, word)
        self._children(statement, at)

    def _node(self, statement: ast.NodeStatement, at: _Place) -> None:
        kind, declared = statement.kind.text, statement.declared
        templates = tuple(name.text for name in statement.templates)
        self._declare(Role.NODE, declared, statement, at, kind, templates)
        self._children(declared, at)
        self._names(Role.TEMPLATE, statement.templates, at)
        if statement.machine is not None:
            self._names(Role.MACHINE, (statement.machine,), at)
        inside = (*at.inside, declared.name.text)
        self._block(statement.block, replace(at, inside=inside, known=properties.of_kind(kind)))

    def _use(self, statement: ast.UseStatement, at: _Place) -> None:
        name = ""
        if statement.declared is not None:
            name = statement.declared.name.text
            self._declare(Role.MODULE, statement.declared, statement, at, "use")
            self._children(statement.declared, at)
        path = "".join(part for part in statement.source.parts if isinstance(part, str))
        self.files.append(UsedFile(path, name, self._span(statement.source.range)))
        self._block(statement.block, replace(at, known=properties.NOTHING))

    def _for(self, statement: ast.ForStatement, at: _Place) -> None:
        inner = replace(at, variables=dict(at.variables))
        scope = self._span(statement.range)
        for turn in statement.turns:
            self._child(turn.values, inner)
            self._variable(turn.name, turn.range, scope, "for", inner)
        self._block(statement.block, inner)

    def _property(self, statement: ast.Property, at: _Place) -> None:
        prop = at.known.get(statement.key.text)
        for number, value in enumerate(statement.values):
            word = value.word if isinstance(value, ast.Reference) else None
            if prop is None or word is None:
                self._child(value, at)
            elif prop.is_verbatim(number) and word not in prop.words:
                self._verbatim(prop.name, value, at)
            elif word not in prop.words:
                self._child(value, at)
        self._block(
            statement.block, replace(at, known=prop.inner if prop is not None else properties.NOTHING)
        )

    def _verbatim(self, name: str, value: ast.Expression, at: _Place) -> None:
        """A name that stands for itself: a pool's, or that of an interface of the node whose block it is."""
        assert isinstance(value, ast.Reference)
        part = Part(value.parts[0].name.text, self._span(value.range))
        if name == "pool":
            self.uses.append(Use((part,), at.inside, Role.POOL))
        elif name in {"interface", "nic", "on", "masquerade", "vlan", "bond", "vrf"}:
            self.uses.append(Use((), at.inside, Role.INTERFACE, port=part, makes=name == "interface"))

    def _block(self, block: ast.Block | None, at: _Place) -> None:
        """A block's statements; its `let`s can be seen in all of it, before they stand there too."""
        if block is None:
            return
        self.blocks.append(self._span(block.range))
        inner = replace(at, variables=dict(at.variables), depth=at.depth + 1)
        for statement in block.statements:
            if isinstance(statement, ast.LetStatement):
                self._variable(statement.name, statement.range, self._span(block.range), "let", inner)
        for statement in block.statements:
            self.statement(statement, inner)

    # Names that are given

    def _variable(self, name: ast.Word, whole: Range, scope: Span, word: str, at: _Place) -> None:
        spans = self._span(name.range), self._span(whole)
        declaration = Declaration(Role.VARIABLE, name.text, at.inside, word, *spans, scope=scope)
        self.declarations.append(declaration)
        at.variables[name.text] = declaration

    def _declare(
        self,
        role: Role,
        name: ast.Word | ast.Declared,
        statement: ast.Statement,
        at: _Place,
        word: str,
        templates: tuple[str, ...] = (),
    ) -> None:
        indexed = isinstance(name, ast.Declared) and bool(name.indices)
        written = name.name if isinstance(name, ast.Declared) else name
        spans = self._span(written.range), self._span(statement.range)
        self.declarations.append(
            Declaration(role, written.text, at.inside, word, *spans, indexed=indexed, templates=templates)
        )

    # Names that are used

    def _names(self, role: Role, names: tuple[ast.Word, ...], at: _Place) -> None:
        for name in names:
            self.uses.append(Use((Part(name.text, self._span(name.range)),), at.inside, role))

    def _child(self, node: object, at: _Place) -> None:
        """A value, an end of a link, a block, or some of them."""
        if isinstance(node, tuple):
            for each in node:
                self._child(each, at)
        elif isinstance(node, ast.Reference):
            self._reference(node, None, False, at)
        elif isinstance(node, ast.Endpoint):
            self._reference(node.node, node.port, True, at)
            self._child(node.values, at)
            self._block(node.block, replace(at, known=SCHEMA[Place.END]))
        elif isinstance(node, ast.Block):
            self._block(node, at)
        elif not isinstance(node, Range | str):
            self._children(node, at)

    def _children(self, node: object, at: _Place) -> None:
        """What stands in a node's fields; a `port` belongs to the reference in the field before it."""
        fields = list(_fields(node))
        for number, (name, value) in enumerate(fields):
            port = (
                fields[number + 1][1]
                if number + 1 < len(fields) and fields[number + 1][0] == "port"
                else None
            )
            if isinstance(value, ast.Reference):
                self._reference(value, port, False, at)
            elif name not in {"port", "via"}:
                self._child(value, at)

    def _reference(self, reference: ast.Reference, port: object, makes: bool, at: _Place) -> None:
        for part in reference.parts:
            self._child(part.indices, at)
        if isinstance(port, ast.String):
            self._child(port.parts, at)
        if reference.parts[0].name.text == "self":
            return
        parts = tuple(Part(p.name.text, self._span(p.name.range), bool(p.indices)) for p in reference.parts)
        named = Part(port.text, self._span(port.range)) if isinstance(port, ast.Word) else None
        bound = at.variables.get(reference.word or "")
        self.uses.append(Use(parts, at.inside, None, bound, named, makes))


_NAMED: dict[type, str] = {
    ast.TemplateStatement: "template",
    ast.ParamStatement: "param",
    ast.LetStatement: "let",
    ast.MachineStatement: "machine",
}


def _fields(node: object) -> Iterator[tuple[str, object]]:
    for name in getattr(type(node), "__match_args__", ()):
        yield name, getattr(node, name)
