"""YAML text to a tree whose every part knows its place, with the comments beside it, within bounds.

Nothing is constructed from tags, and plain words stay words: what `no`, `22:22` or `1.10` mean is for the
place that they stand in.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, TypeAlias

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range, Source
from vtopo.values import dataclass

CODE = "E0801"
MOST_BYTES = 1_000_000
"""A file of more bytes than this is refused."""
DEEPEST = 60
"""Lists and maps within each other beyond this are refused."""
MOST_PARTS = 50_000
"""Values that a file may have, what its aliases stand for counted each time."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMENT = re.compile(r"(?:^|\s)#(.*)")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as text; `plain` if it stood without quotes."""

    text: str
    plain: bool
    tag: str
    range: Range
    size: int = 1

    @property
    def empty(self) -> bool:
        """Whether it is YAML's null."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    tag: str
    range: Range
    size: int


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a map, and its value."""

    key: Scalar
    value: Node

    @property
    def name(self) -> str:
        return self.key.text


@dataclass(frozen=True, slots=True)
class Fields:
    """A map in the order of the text, what `<<` merges into it included."""

    fields: tuple[Field, ...]
    tag: str
    range: Range
    size: int

    def get(self, name: str) -> Node | None:
        """The value of a key; None where there is none, or an empty one."""
        found = next((f.value for f in self.fields if f.name == name), None)
        return None if isinstance(found, Scalar) and found.empty else found


Node: TypeAlias = Scalar | Items | Fields


@dataclass(frozen=True, slots=True)
class Comment:
    """The text after a `#`, and its line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and its comments in order."""

    root: Node
    comments: tuple[Comment, ...]


class _Bad(Exception):
    """The text cannot be read; args are those of a diagnostic."""

    def __init__(self, message: str, place: Range, label: str = "", others: tuple[Label, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.place, self.label, self.others = message, place, label, others


def read_yaml(source: Source, diagnostics: Diagnostics) -> Document | None:
    """The tree of a file; None after an error was added."""
    try:
        return _Reading(source).document()
    except _Bad as e:
        template = "{{" in source.text
        help = "it looks like a template: render it first, and import what comes of it" if template else ""
        diagnostics.add(CODE, e.message, e.place, e.label, others=e.others, help=help)
    return None


class _Reading:
    """Builds the tree from the parser's events, so that depth and size are bounded before anything grows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._anchors: dict[str, Node] = {}
        self._open: dict[str, Range] = {}
        self._texts: list[Any] = []
        self._count = 0

    def document(self) -> Document:
        if bad := _UNPRINTABLE.search(self._source.text):
            raise _Bad("this is not YAML", self._at(bad.start()), "a character that no text has")
        root: Node | None = None
        try:
            events = self._events()
            for event in events:
                kind = type(event).__name__
                if kind == "DocumentStartEvent" and root is not None:
                    raise _Bad("a second document", self._place(event), "a file holds one")
                if kind.startswith(("Stream", "Document")):
                    continue
                root = self._node(event, events, 0)
        except _yaml().MarkedYAMLError as e:
            raise self._parser_said(e) from e
        if root is None or (isinstance(root, Scalar) and root.empty):
            raise _Bad("there is nothing in this file", Range(self._source.path, 1, 1, 1, 1))
        return Document(root, tuple(self._comments()))

    def _events(self) -> Iterator[Any]:
        yaml = _yaml()
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return iter(yaml.parse(self._source.text, Loader=loader))

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        place = self._place(event)
        self._count += 1
        if depth > DEEPEST:
            raise _Bad("this is nested too deeply", place, f"more than {DEEPEST} levels")
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._anchored(event.anchor, place)
        if event.anchor:
            self._open[event.anchor] = place
        node: Node
        if kind == "ScalarEvent":
            self._texts.append(event)
            node = Scalar(event.value, event.style in (None, ""), _tag(event), place)
        elif kind == "SequenceStartEvent":
            items = tuple(self._inner(events, depth, "SequenceEndEvent"))
            node = Items(items, _tag(event), _whole(place, items), self._size(items, place))
        else:
            node = self._map(event, place, list(self._inner(events, depth, "MappingEndEvent")))
        if event.anchor:
            self._open.pop(event.anchor, None)
            self._anchors[event.anchor] = node
        return node

    def _inner(self, events: Iterator[Any], depth: int, end: str) -> Iterator[Node]:
        for event in events:
            if type(event).__name__ == end:
                return
            yield self._node(event, events, depth + 1)

    def _size(self, parts: tuple[Node, ...], place: Range) -> int:
        size = 1 + sum(part.size for part in parts)
        if max(size, self._count) > MOST_PARTS:
            raise _Bad(
                "there is too much in this", place, f"more than {MOST_PARTS:,} values, aliases written out"
            )
        return size

    def _anchored(self, name: str, place: Range) -> Node:
        if name in self._open:
            raise _Bad(f"`*{name}` stands within what it stands for", place, "it would never end")
        if name not in self._anchors:
            raise _Bad(f"there is no `&{name}` above this", place, "an alias of nothing")
        return self._anchors[name]

    def _map(self, event: Any, place: Range, parts: list[Node]) -> Fields:
        keys, values = parts[::2], parts[1::2]
        own: dict[str, Field] = {}
        merged: dict[str, Field] = {}
        for key, value in zip(keys, values, strict=True):
            if not isinstance(key, Scalar):
                raise _Bad("a key is a word here", key.range, "this is a list or a map")
            if key.text == "<<" and key.plain and (fields := _merged(value)) is not None:
                merged = {**{f.name: f for f in fields}, **merged}
                continue
            if key.text in own:
                first = Label(own[key.text].key.range, "first given here")
                raise _Bad(f"`{key.text}` is given twice", key.range, "given again here", (first,))
            own[key.text] = Field(key, value)
        fields = tuple({**merged, **own}.values())
        size = self._size(tuple(parts), place) + sum(f.value.size for f in merged.values())
        return Fields(fields, _tag(event), _whole(place, parts), size)

    # Places

    def _place(self, event: Any) -> Range:
        start, end = event.start_mark, event.end_mark
        line, column = end.line + 1, end.column + 1
        if getattr(event, "style", None) in ("|", ">") and column == 1:
            line -= 1
        return Range(self._source.path, start.line + 1, start.column + 1, max(line, start.line + 1), column)

    def _at(self, offset: int) -> Range:
        before = self._source.text[:offset]
        line, column = before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
        return Range(self._source.path, line, column, line, column + 1)

    def _parser_said(self, error: Any) -> _Bad:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        if "\t" in self._source.line(line)[: column + 1] and "cannot start any token" in str(error.problem):
            label = "YAML is not indented by tabs"
        else:
            label = str(error.problem or error.context)
        return _Bad("this is not YAML", Range(self._source.path, line, column, line, column + 1), label)

    # Comments

    def _comments(self) -> Iterator[Comment]:
        """What follows a `#` outside of all texts."""
        ends: dict[int, int] = {}
        within: set[int] = set()
        for event in self._texts:
            place = self._place(event)
            if getattr(event, "style", None) in ("|", ">"):
                within.update(range(place.line + 1, place.end_line + 1))
                continue
            within.update(range(place.line, place.end_line))
            ends[place.end_line] = max(ends.get(place.end_line, 0), place.end_column - 1)
        for number, line in enumerate(self._source.text.split("\n"), 1):
            if number in within or "#" not in line:
                continue
            start = ends.get(number, 0)
            if found := _COMMENT.search(line, start):
                yield Comment(number, found[1].strip())


class Remarks:
    """A file's comments, each handed out once: to whoever writes what stands in its lines."""

    def __init__(self, document: Document) -> None:
        self._lines = [c.line for c in document.comments]
        self._texts = [c.text for c in document.comments]
        self._left = set(self._lines)

    def between(self, first: int, last: int) -> list[str]:
        """Those of these lines, both included, that nobody has had."""
        found = []
        for at in range(bisect_left(self._lines, first), bisect_left(self._lines, last + 1)):
            if self._lines[at] in self._left:
                self._left.remove(self._lines[at])
                found.append(self._texts[at])
        return found

    def above(self, line: int) -> list[str]:
        """Those that stand right above a line, nothing else between."""
        first = line
        while first - 1 in self._left:
            first -= 1
        return self.between(first, line - 1)


def _merged(value: Node) -> tuple[Field, ...] | None:
    """What `<<` brings, of several maps the first first; None if that is no map."""
    maps = value.items if isinstance(value, Items) else (value,)
    found: dict[str, Field] = {}
    for each in maps:
        if not isinstance(each, Fields):
            return None
        found = {**{f.name: f for f in each.fields}, **found}
    return tuple(found.values())


def _whole(place: Range, parts: tuple[Node, ...] | list[Node]) -> Range:
    """From where a list or map begins to the end of what is last in it; YAML's own end is the next thing's start."""
    inside = [p.range for p in parts if (p.range.line, p.range.column) >= (place.line, place.column)]
    return place.to(max(inside, key=lambda r: (r.end_line, r.end_column))) if inside else place


def _tag(event: Any) -> str:
    tag = event.tag or ""
    return "" if tag in ("!", None) or tag.startswith("tag:yaml.org,2002:") else tag


def _yaml() -> Any:
    import yaml

    return yaml
