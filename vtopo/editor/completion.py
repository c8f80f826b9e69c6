"""What can stand at a place: statements, properties of its block, their values and units, names."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from vtopo.editor import forms, words
from vtopo.editor.compiled import Compiled, nodes_of
from vtopo.editor.context import Context
from vtopo.editor.facts import Declaration, Role
from vtopo.editor.index import Index, Symbol
from vtopo.model import attributes
from vtopo.model.schema import DIMENSIONS, KIND_PLACES, Property, Slot, Type
from vtopo.model.schema.reference import takes
from vtopo.model.units import UNITS
from vtopo.values import dataclass

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)[A-Za-z%/]*")
_NODES = frozenset({Role.NODE, Role.MODULE})
_VALUES = frozenset({Role.VARIABLE})


class Kind(enum.Enum):
    """What an item is, for its picture in a list."""

    STATEMENT = "statement"
    PROPERTY = "property"
    WORD = "word"
    UNIT = "unit"
    NODE = "node"
    INTERFACE = "interface"
    TEMPLATE = "template"
    VARIABLE = "variable"
    FUNCTION = "function"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can stand here: what it is shown as, what is written, in few words what it is, and more."""

    label: str
    kind: Kind
    detail: str = ""
    doc: str = ""
    written: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """What names are taken from: the file's index, its last compiled lab, and the files that it uses, by path."""

    index: Index
    lab: Compiled
    file: Callable[[str], Index | None]


def complete(at: Context, sources: Sources) -> list[Item]:
    """The items for a place, most likely ones first."""
    return list(dict.fromkeys(_Completion(at, sources).items()))


class _Completion:
    def __init__(self, at: Context, sources: Sources) -> None:
        self._at = at
        self._words = at.words
        self._sources = sources
        self._index = sources.index

    def items(self) -> Iterator[Item]:
        at, said = self._at, self._words
        if at.in_text:
            return
        if not said:
            yield from self._begin()
        elif said[-1] == '"${':
            yield from self._values()
        elif said[-1] == ".":
            yield from self._members()
        elif said[-1] == "[" and said[0] not in at.known:
            yield from self._values()
        elif said[0] in at.known:
            yield from self._of_property(at.known[said[0]])
        elif said[0] in KIND_PLACES or said[0] == "template":
            yield from self._of_declaration()
        else:
            yield from self._of_statement()

    # Where a statement begins

    def _begin(self) -> Iterator[Item]:
        block = self._at.block
        first = block[0] if block else ""
        if first == "use":
            yield from self._params(block)
            return
        yield from (_property(prop) for prop in self._at.known.values())
        if not first:
            nested = bool(self._at.headers)
            not_here = {"vtep", *(("lab", "param", "template", "default") if nested else ())}
            yield from _statements(word for word in words.STATEMENTS if word not in not_here)
        elif first in {"host", "container", "vm", "template", "default"}:
            yield from _statements(words.IN_NODES)
        elif first == "scenario":
            yield from _statements(("expect",))
        else:
            yield from _statements(("vtep",) if first == "overlay" else ())
            yield from _statements(words.IN_SMALL)
        if first == "link" and "--" in block:
            yield Item("->", Kind.WORD, "what holds from left to right only", written="-> { ")
            yield Item("<-", Kind.WORD, "what holds from right to left only", written="<- { ")

    def _params(self, header: Sequence[str]) -> Iterator[Item]:
        used = self._sources.file(header[1].strip('"')) if len(header) > 1 else None
        for name, declaration in used.visible(()).items() if used is not None else ():
            if declaration.kind == "param":
                yield Item(name, Kind.VARIABLE, "a param of the module", written=f"{name} = ")

    # After a statement's first word

    def _of_declaration(self) -> Iterator[Item]:
        said = self._words
        if len(said) < 2:
            return
        if said[-1] == "on":
            yield from _named(self._index.named(Role.MACHINE), Kind.OTHER)
        elif said[-1] in {":", ","} and ":" in said:
            yield from self._templates()
        elif said[0] != "template" and self._index.named(Role.MACHINE):
            yield _word("on", "the machine that it runs on")

    def _templates(self) -> Iterator[Item]:
        yield from _named(self._index.named(Role.TEMPLATE), Kind.TEMPLATE)
        for file, _ in self._index.files():
            library = self._sources.file(file.path) if not file.name else None
            if library is not None:
                yield from _named(library.named(Role.TEMPLATE), Kind.TEMPLATE)

    def _of_statement(self) -> Iterator[Item]:
        said = self._words
        match said[0]:
            case "link" | "vtep":
                yield from self._end(said[_after(said, "--") or 1 :], "--" in said)
            case "expect":
                yield from self._expect([word for word in said[1:] if word != "not"])
            case "default" if len(said) == 1:
                yield from _statements([*KIND_PLACES, "link"])
            case "if" if said[-1] == "}":
                yield _word("else", "what holds where the condition is off")
            case "for" if said[-1] != "in" and "in" not in said[-3:]:
                yield from (
                    [_word("in", "the values that it takes")] if len(said) > 1 and said[-1] != "," else []
                )
            case "param" | "let" | "for" | "if":
                yield from self._after_sign()
            case "use" if len(said) == 2:
                yield _word("as", "the name that the module's nodes are found by")
            case "pool" if len(said) > 2 and "split" not in said:
                yield _word("split", "the length of the blocks that are handed out")
            case _:
                if self._at.block[:1] == ("use",) or _ARROWS & set(said):
                    yield from self._values() if "=" in said else self._nodes()

    def _after_sign(self) -> Iterator[Item]:
        said = self._words
        if said[0] == "if" or len(said) > 2:
            yield from self._values()
        elif said[0] == "param" and len(said) == 2:
            yield _word("in", "the values that it takes")

    def _end(self, said: Sequence[str], second: bool) -> Iterator[Item]:
        """An end of a link, or of a tunnel."""
        if not said:
            yield from self._nodes()
        elif said[-1] == ":":
            yield from self._interfaces(said[:-1])
        elif self._words[0] == "link":
            yield _word("none", "no address at this end")
            yield from self._values()
            if not second:
                yield _word("--", "and the other end")

    def _expect(self, said: Sequence[str]) -> Iterator[Item]:
        if not said:
            if self._words[-1] == "expect":
                yield _word("not", "must fail throughout")
            yield from self._nodes()
            yield from (_word(word, "a claim about the way between two nodes") for word in words.BEGIN_CLAIMS)
        elif said[-1] in {"reaches", "->", "through", ","} or (
            len(said) == 1 and said[0] in words.BEGIN_CLAIMS
        ):
            yield from self._nodes()
        elif said[-1] == ":":
            yield from self._interfaces(said[:-1])
        elif said[-1] == "within":
            yield from self._units(Type.TIME)
        elif said[-1] == "on":
            yield _word("tcp", "a TCP connection to a port")
        elif said[0] in words.BEGIN_CLAIMS:
            yield from map(_word, ("through", "within") if said[0] == "path" else (">=", "<=", "within"))
        elif "reaches" in said:
            yield from map(_word, words.AFTER_TARGET)
        elif "runs" in said:
            yield from map(_word, ("prints", "within"))
        else:
            yield from map(_word, words.AFTER_SUBJECT)

    # A property's values

    def _of_property(self, prop: Property) -> Iterator[Item]:
        said = self._words[1:]
        if said[-1:] == ("}",):
            return
        for part in forms.following(prop, said):
            if isinstance(part, str):
                yield _word(part, prop.doc)
            else:
                yield from self._of_slot(prop, part)

    def _of_slot(self, prop: Property, slot: Slot) -> Iterator[Item]:
        for type_ in slot.types:
            if type_ is Type.SWITCH:
                yield from map(_word, ("on", "off"))
            elif type_ in {Type.WORD, Type.WORDS}:
                yield from map(_word, slot.words)
            elif type_ is Type.NODE:
                yield from self._nodes()
            elif type_ in DIMENSIONS:
                yield from self._units(type_)
            elif type_ in {Type.NAME, Type.NAMES}:
                yield from self._verbatim(prop)
        if not {Type.NAME, Type.NAMES} & set(slot.types):
            yield from self._values()

    def _verbatim(self, prop: Property) -> Iterator[Item]:
        """Names that stand for themselves: a pool's, or those of the node's own interfaces."""
        if prop.name == "pool":
            yield from self._visible(frozenset({Role.POOL}), Kind.OTHER)
            return
        inside = self._at.inside
        symbol = self._index.resolve(inside, ()) if inside else None
        if symbol is not None and prop.name in {"interface", "nic", "vlan", "bond", "vrf", "masquerade"}:
            yield from (Item(name, Kind.INTERFACE) for name in self._index.interfaces(symbol))

    def _units(self, type_: Type) -> Iterator[Item]:
        number = _NUMBER.fullmatch(self._at.prefix)
        if number is None:
            return
        for unit, (dimension, _) in UNITS.items():
            if dimension == DIMENSIONS[type_]:
                yield Item(f"{number[1]}{unit}", Kind.UNIT, type_.value)

    # Names

    def _nodes(self) -> Iterator[Item]:
        yield from self._visible(_NODES, Kind.NODE)
        yield from (Item(name, Kind.VARIABLE, "a variable of this block") for name in self._at.variables)

    def _values(self) -> Iterator[Item]:
        yield from (Item(name, Kind.VARIABLE, "a variable of this block") for name in self._at.variables)
        yield from self._visible(_VALUES, Kind.VARIABLE)
        if self._at.inside:
            yield Item("self", Kind.VARIABLE, "the node whose block this is")
        for name, meaning in words.FUNCTIONS.items():
            yield Item(name, Kind.FUNCTION, meaning.form, meaning.doc, f"{name}(")

    def _visible(self, roles: frozenset[Role], kind: Kind) -> Iterator[Item]:
        for name, declaration in self._index.visible(self._at.inside).items():
            if declaration.role in roles:
                yield _declared(name, declaration, kind)

    def _members(self) -> Iterator[Item]:
        """What stands behind a node's dot: nodes in it, its interfaces, what it says of itself."""
        path = _path(self._words[:-1])
        if path == ["self"]:
            yield from map(_word, ("name", "index", "index2"))
            return
        symbol = self._index.resolve(path, self._at.inside)
        if symbol is None:
            if len(path) > 1 and self._index.resolve(path[:-1], self._at.inside) is not None:
                yield from map(_word, attributes.INTERFACE)
            return
        if symbol.role is Role.MODULE:
            for file, _ in self._index.files():
                module = self._sources.file(file.path) if file.name == symbol.name else None
                for name, declaration in module.visible(()).items() if module is not None else ():
                    if declaration.role in _NODES:
                        yield _declared(name, declaration, Kind.NODE)
            return
        for name, declaration in self._index.members(symbol).items():
            yield _declared(name, declaration, Kind.NODE)
        if self._words[0] not in {"link", "vtep", "expect"}:
            yield from self._interfaces(self._words[:-1])
            yield from map(_word, attributes.BRIDGE if self._is_bridge(symbol) else attributes.NODE)

    def _is_bridge(self, symbol: Symbol) -> bool:
        declared = self._index.declared_in(symbol.owner, symbol.name)
        return declared is not None and declared.kind in {"bridge", "uplink"}

    def _interfaces(self, said: Sequence[str]) -> Iterator[Item]:
        symbol = self._index.resolve(_path(said), self._at.inside)
        if symbol is None:
            return
        for name in self._index.interfaces(symbol):
            if name != self._at.prefix:
                yield Item(name, Kind.INTERFACE, "named by a link")
        for node in nodes_of(symbol, self._index, self._sources.lab):
            for port in node.ports:
                yield Item(port.name, Kind.INTERFACE, f"to {port.peer} {' '.join(port.addresses)}".rstrip())


_ARROWS = frozenset({"->", "<-"})


def _after(said: Sequence[str], sign: str) -> int:
    """The position behind the last such sign, or 0."""
    return len(said) - list(reversed(said)).index(sign) if sign in said else 0


def _path(said: Sequence[str]) -> list[str]:
    """The dotted name that some words end in, its indices left out."""
    path: list[str] = []
    depth = 0
    expected = True
    for word in reversed(said):
        if word == "]":
            depth += 1
        elif word == "[":
            depth -= 1
        elif depth:
            continue
        elif word == "." and not expected:
            expected = True
        elif expected and word not in {".", ":", "--"}:
            path.insert(0, word)
            expected = False
        else:
            break
    return path


def _property(prop: Property) -> Item:
    default = f"; {prop.default} if not given" if prop.default else ""
    return Item(prop.name, Kind.PROPERTY, f"{takes(prop)}{default}", prop.doc)


def _statements(names: Iterable[str]) -> Iterator[Item]:
    for name in names:
        meaning = words.STATEMENTS[name]
        yield Item(name, Kind.STATEMENT, meaning.form, meaning.doc)


def _word(text: str, detail: str = "") -> Item:
    return Item(text, Kind.WORD, detail)


def _named(names: Mapping[str, Declaration], kind: Kind) -> Iterator[Item]:
    for name, declaration in names.items():
        yield Item(name, kind, declaration.kind)


def _declared(name: str, declaration: Declaration, kind: Kind) -> Item:
    """A name; one that stands for several is written with its bracket."""
    if declaration.indexed:
        return Item(name, kind, f"{declaration.kind}s {name}[…]", written=f"{name}[")
    return Item(name, kind, declaration.kind)
