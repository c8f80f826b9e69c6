"""All names of a text: what declares each, where it is used, what it means there. An edit costs what it touches."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence

from vtopo.editor.chunks import Chunk, chunks
from vtopo.editor.facts import Declaration, Entry, Facts, Owner, Part, Role, Span, Use, UsedFile, facts
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.parser import parse
from vtopo.lang.source import Range, Source
from vtopo.values import dataclass

BATCH = 200
"""Chunks that are parsed at once: some milliseconds' work, after which others have their turn."""

_NO_FACTS = Facts()
_OWN_NAMES = frozenset({Role.LAB, Role.TEMPLATE, Role.MACHINE})
"""Roles whose names are beside those of nodes and variables; the others share one namespace in each block."""
_HOLDERS = frozenset({Role.NODE, Role.MODULE, Role.OVERLAY})
"""What a dotted name can go on behind."""
_INDICES = re.compile(r"[0-9]+(?:-[0-9A-Za-z_]+)*|(?:-[0-9A-Za-z_]+)+")
"""What an index adds to a name: `h1`, `pod1-2`, `br-red`."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name means: its role, whose it is, and of a variable the place of the block that it can be seen in."""

    role: Role
    owner: Owner
    name: str
    scope: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name in the text and what it means; `declaration` is set where it is declared."""

    symbol: Symbol
    range: Range
    declaration: Declaration | None = None
    whole: Range | None = None


class Cache:
    """The facts of chunks by their text, of those that the last text had."""

    def __init__(self, known: Cache | None = None) -> None:
        self._facts: dict[str, Facts] = dict(known._facts) if known is not None else {}

    def missing(self, of: Sequence[Chunk]) -> Iterator[list[Chunk]]:
        """The chunks without facts, in batches that can be parsed as one text."""
        batch: list[Chunk] = []
        for chunk in of:
            if chunk.text in self._facts:
                continue
            if batch and (not chunk.whole or len(batch) >= BATCH):
                yield batch
                batch = []
            batch.append(chunk)
            if not chunk.whole:
                yield batch
                batch = []
        if batch:
            yield batch

    def parse(self, batch: Sequence[Chunk]) -> None:
        """Note the facts of these chunks."""
        text = "".join(chunk.text if chunk.text.endswith("\n") else f"{chunk.text}\n" for chunk in batch)
        diagnostics = Diagnostics()
        tree = parse(Source("", text), diagnostics)
        broken = sorted(d.range.line for d in diagnostics)
        firsts = []
        line = 1
        for chunk in batch:
            firsts.append(line)
            line += chunk.text.count("\n") + (not chunk.text.endswith("\n"))
        starts = [statement.range.line for statement in tree.statements]
        for number, chunk in enumerate(batch):
            after = firsts[number + 1] if number + 1 < len(batch) else line
            own = tree.statements[
                bisect.bisect_left(starts, firsts[number]) : bisect.bisect_left(starts, after)
            ]
            first = next(iter(broken[bisect.bisect_left(broken, firsts[number]) :]), after)
            failed = first - firsts[number] if first < after else None
            self._facts[chunk.text] = facts(own, firsts[number], failed)

    def of(self, chunk: Chunk) -> Facts:
        """The facts of a chunk; none while it was not parsed."""
        return self._facts.get(chunk.text, _NO_FACTS)

    def keep(self, only: Sequence[Chunk]) -> None:
        """Forget all other chunks."""
        self._facts = {chunk.text: self._facts[chunk.text] for chunk in only if chunk.text in self._facts}


class Index:
    """The names of one text."""

    def __init__(self, path: str, parts: Sequence[Chunk], cache: Cache) -> None:
        self.path = path
        self.chunks = parts
        self.cache = cache
        self._facts = [cache.of(chunk) for chunk in parts]
        self._lines = [chunk.line for chunk in parts]
        self._members: dict[Owner, dict[str, list[tuple[int, Declaration]]]] = {}
        self._own: dict[Role, dict[str, list[tuple[int, Declaration]]]] = {role: {} for role in _OWN_NAMES}
        for number, found in enumerate(self._facts):
            for declaration in found.declarations:
                if declaration.role in _OWN_NAMES:
                    self._own[declaration.role].setdefault(declaration.name, []).append((number, declaration))
                elif declaration.scope is None:
                    names = self._members.setdefault(declaration.owner, {})
                    names.setdefault(declaration.name, []).append((number, declaration))

    def sees(self, name: Occurrence, variable: Occurrence) -> bool:
        """Whether a place is where a variable of a block can be seen."""
        number = self.chunk_at(variable.range.line)
        if number is None or variable.declaration is None or variable.declaration.scope is None:
            return True
        scope = self._range(number, variable.declaration.scope)
        start = (name.range.line, name.range.column)
        return (scope.line, scope.column) <= start < (scope.end_line, scope.end_column)

    @property
    def broken(self) -> int | None:
        """The first line that does not parse."""
        found = zip(self._lines, self._facts, strict=True)
        return next((line + facts.broken for line, facts in found if facts.broken is not None), None)

    # What stands where

    def chunk_at(self, line: int) -> int | None:
        """The number of the chunk that a line is in."""
        number = bisect.bisect_right(self._lines, line) - 1
        if number < 0:
            return None
        chunk = self.chunks[number]
        return number if line <= chunk.line + chunk.text.count("\n") else None

    def at(self, line: int, column: int) -> Occurrence | None:
        """The name at a place, or just before it."""
        number = self.chunk_at(line)
        if number is None:
            return None
        here = line - self._lines[number]
        for declaration in self._facts[number].declarations:
            if declaration.span.holds(here, column):
                return self._declared(number, declaration)
        for use in self._facts[number].uses:
            for part in use.words:
                if part.span.holds(here, column):
                    found = self._resolve(number, use)
                    return next((o for o in found if _holds(o.range, line, column)), None)
        return None

    def declarations(self, symbol: Symbol) -> list[Occurrence]:
        """Where a symbol is declared; of an interface, where a link makes it."""
        if symbol.role is Role.INTERFACE:
            return [o for o in self._all_uses(made=True) if o.symbol == symbol]
        if symbol.role in _OWN_NAMES:
            found = self._own[symbol.role].get(symbol.name, [])
        elif symbol.scope is None:
            found = self._members.get(symbol.owner, {}).get(symbol.name, [])
        else:
            return [o for o in self._all_declared() if o.symbol == symbol]
        return [self._declared(number, declaration) for number, declaration in found]

    def occurrences(self, symbol: Symbol) -> list[Occurrence]:
        """Every place of the text that means `symbol`, in the order of the text."""
        found = [o for o in (*self._all_declared(), *self._all_uses()) if o.symbol == symbol]
        return sorted(found, key=lambda o: (o.range.line, o.range.column))

    def all(self) -> list[Occurrence]:
        """Every name of the text that means something, in the order of the text."""
        return sorted(
            (*self._all_declared(), *self._all_uses()), key=lambda o: (o.range.line, o.range.column)
        )

    def visible(self, inside: Owner) -> Mapping[str, Declaration]:
        """The nodes, overlays and variables of the file that can be seen from a block, by name."""
        seen: dict[str, Declaration] = {}
        for owner in _around(inside):
            for name, found in self._members.get(owner, {}).items():
                seen.setdefault(name, found[0][1])
        return seen

    def declared_in(self, owner: Owner, name: str) -> Declaration | None:
        """The first declaration of a name in a block."""
        found = self._members.get(owner, {}).get(name)
        return found[0][1] if found else None

    def named(self, role: Role) -> Mapping[str, Declaration]:
        """The templates, or the machines, by name."""
        return {name: found[0][1] for name, found in self._own[role].items()}

    def files(self) -> Iterator[tuple[UsedFile, Range]]:
        """The files that are used, each with the place of its path."""
        for number, found in enumerate(self._facts):
            for file in found.files:
                yield file, self._range(number, file.span)

    def members(self, symbol: Symbol) -> Mapping[str, Declaration]:
        """The nodes behind a node, by name."""
        found: dict[str, Declaration] = {}
        for owner in self._blocks_of(symbol):
            for name, declared in self._members.get(owner, {}).items():
                found.setdefault(name, declared[0][1])
        return found

    def interfaces(self, symbol: Symbol) -> list[str]:
        """The interfaces of a node that links name, in the order of the text."""
        found = (o.symbol for o in self._all_uses(made=True) if o.symbol.role is Role.INTERFACE)
        owner = _path(symbol)
        return list(dict.fromkeys(s.name for s in found if s.owner == owner))

    def resolve(self, words: Sequence[str], inside: Owner) -> Symbol | None:
        """The node that a dotted name means as seen from a block; indices left out."""
        nowhere = Span(0, 1, 0, 1)
        use = Use(tuple(Part(word, nowhere, False) for word in words), inside, Role.NODE)
        found = self._resolve(0, use) if self.chunks else []
        symbols = [o.symbol for o in found if o.symbol.role in _HOLDERS]
        return symbols[-1] if symbols and len(symbols) == len(words) else None

    def entries(self) -> Iterator[tuple[Entry, Range, Range]]:
        """The statements of the outline in the order of the text, each with its label's place and its own."""
        for number, found in enumerate(self._facts):
            for entry in found.entries:
                yield entry, self._range(number, entry.label), self._range(number, entry.whole)

    def blocks(self) -> Iterator[Range]:
        """Every block of the text."""
        for number, found in enumerate(self._facts):
            yield from (self._range(number, span) for span in found.blocks)

    # Names to symbols

    def _range(self, number: int, span: Span) -> Range:
        first = self._lines[number]
        return Range(self.path, first + span.line, span.column, first + span.end_line, span.end_column)

    def _symbol(self, number: int, declaration: Declaration) -> Symbol:
        scope = declaration.scope
        place = (self._lines[number] + scope.line, scope.column) if scope is not None else None
        owner = () if declaration.role is Role.VARIABLE else declaration.owner
        return Symbol(declaration.role, owner, declaration.name, place)

    def _declared(self, number: int, declaration: Declaration) -> Occurrence:
        place = self._range(number, declaration.span)
        whole = self._range(number, declaration.whole)
        return Occurrence(self._symbol(number, declaration), place, declaration, whole)

    def _all_declared(self) -> Iterator[Occurrence]:
        for number, found in enumerate(self._facts):
            for declaration in found.declarations:
                yield self._declared(number, declaration)

    def _all_uses(self, made: bool = False) -> Iterator[Occurrence]:
        """What all uses mean; `made`: only those that make an interface."""
        for number, found in enumerate(self._facts):
            for use in found.uses:
                if not made or use.makes:
                    yield from self._resolve(number, use)

    def _resolve(self, number: int, use: Use) -> list[Occurrence]:
        """What the words of a use mean, up to the first that means nothing here."""
        found: list[Occurrence] = []
        if use.bound is not None:
            return [Occurrence(self._symbol(number, use.bound), self._range(number, use.parts[0].span))]
        if use.role in _OWN_NAMES:
            part = use.parts[0]
            if part.text in self._own[use.role]:
                found.append(Occurrence(Symbol(use.role, (), part.text), self._range(number, part.span)))
            return found
        owners: Sequence[Owner] = list(_around(use.inside))
        port = use.port
        for part in use.parts:
            named = self._find(owners, part)
            if named is None:
                port = part if port is None else None
                break
            symbol, span = named
            found.append(Occurrence(symbol, self._range(number, span)))
            owners = self._blocks_of(symbol)
        owner = _path(found[-1].symbol) if found else use.inside
        holds = not use.parts or (found and found[-1].symbol.role in _HOLDERS)
        if port is not None and holds and owner:
            in_module = bool(found) and found[-1].symbol.role is Role.MODULE
            role = Role.NODE if in_module else Role.INTERFACE
            found.append(Occurrence(Symbol(role, owner, port.text), self._range(number, port.span)))
        return found

    def _find(self, owners: Sequence[Owner], part: Part) -> tuple[Symbol, Span] | None:
        """The first declaration that a word means, and how much of the word is its name: `h` of `h1`."""
        for owner in owners:
            names = self._members.get(owner, {})
            if part.text in names:
                return self._symbol(*names[part.text][0]), part.span
            if part.indexed:
                continue
            for end in range(len(part.text) - 1, 0, -1):
                if not _INDICES.fullmatch(part.text, end):
                    continue
                base = names.get(part.text[:end])
                if base is not None and base[0][1].indexed:
                    span = part.span
                    return self._symbol(*base[0]), Span(span.line, span.column, span.line, span.column + end)
        return None

    def _blocks_of(self, symbol: Symbol) -> list[Owner]:
        """The blocks in which the nodes behind a node are declared: its own, its templates', its kind's defaults."""
        owners: list[Owner] = [_path(symbol)]
        kinds: list[str] = []
        pending: list[str] = []
        for _, declaration in self._members.get(symbol.owner, {}).get(symbol.name, []):
            pending += declaration.templates
            kinds.append(declaration.kind)
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            owners.append((f"template {name}",))
            declared = self._own[Role.TEMPLATE].get(name, [])
            pending += (base for _, template in declared for base in template.templates)
        return owners + [(f"default {kind}",) for kind in kinds]


def build(path: str, text: str, cache: Cache) -> Index:
    """The index of a text, at once; `cache` then has its chunks."""
    parts = chunks(text)
    for batch in cache.missing(parts):
        cache.parse(batch)
    cache.keep(parts)
    return Index(path, parts, cache)


def _path(symbol: Symbol) -> Owner:
    """The block of what a symbol means."""
    return (*symbol.owner, symbol.name)


def _around(inside: Owner) -> Iterator[Owner]:
    """A block and those around it, the innermost first."""
    for length in range(len(inside), -1, -1):
        yield inside[:length]


def _holds(range: Range, line: int, column: int) -> bool:
    return (range.line, range.column) <= (line, column) <= (range.end_line, range.end_column)
