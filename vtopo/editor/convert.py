"""vtopo's places, diagnostics and items as those of the language server protocol (3.17)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from lsprotocol import types

from vtopo.editor import completion, outline
from vtopo.editor.text import Position, Text
from vtopo.lang.diagnostics import Diagnostic, Severity
from vtopo.lang.render import through
from vtopo.lang.source import Range

MOST_ITEMS = 500
"""Items of a completion; what is typed next narrows them."""

_SUGGESTED = re.compile(r"did you mean `([^`]+)`\?")
_KINDS = {
    completion.Kind.STATEMENT: types.CompletionItemKind.Keyword,
    completion.Kind.PROPERTY: types.CompletionItemKind.Property,
    completion.Kind.WORD: types.CompletionItemKind.EnumMember,
    completion.Kind.UNIT: types.CompletionItemKind.Unit,
    completion.Kind.NODE: types.CompletionItemKind.Class,
    completion.Kind.INTERFACE: types.CompletionItemKind.Interface,
    completion.Kind.TEMPLATE: types.CompletionItemKind.Struct,
    completion.Kind.VARIABLE: types.CompletionItemKind.Variable,
    completion.Kind.FUNCTION: types.CompletionItemKind.Function,
    completion.Kind.OTHER: types.CompletionItemKind.Reference,
}
_SYMBOLS = {
    "lab": types.SymbolKind.File,
    "use": types.SymbolKind.Module,
    "link": types.SymbolKind.Event,
    "overlay": types.SymbolKind.Namespace,
    "bridge": types.SymbolKind.Interface,
    "uplink": types.SymbolKind.Interface,
    "template": types.SymbolKind.Struct,
    "default": types.SymbolKind.Struct,
    "param": types.SymbolKind.Variable,
    "let": types.SymbolKind.Constant,
    "pool": types.SymbolKind.Array,
    "scenario": types.SymbolKind.Method,
    "for": types.SymbolKind.Operator,
}


def position(text: Text, offset: int) -> types.Position:
    """The client's position of an offset."""
    found = text.position(offset)
    return types.Position(found.line, found.character)


def offset(text: Text, place: types.Position) -> int:
    """The offset of a client's position."""
    return text.offset_of(Position(max(0, place.line), max(0, place.character)))


def span(text: Text, start: int, end: int) -> types.Range:
    """The client's range between two offsets."""
    return types.Range(position(text, start), position(text, end))


def range_of(text: Text, place: Range) -> types.Range:
    """The client's range of one of vtopo's."""
    return span(text, text.offset(place.line, place.column), text.offset(place.end_line, place.end_column))


def diagnostic(
    found: Diagnostic, text: Text, location: Callable[[Range], types.Location | None], related: bool
) -> types.Diagnostic:
    """A diagnostic in `text`; `location` places its further ranges, which go into the message unless `related`."""
    lines = [found.message]
    lines += [found.label] if found.label else []
    places = [(other.text, location(other.range), other.range) for other in found.others]
    if not related:
        lines += [f"line {place.line}: {words}" for words, _, place in places]
    lines += [f"help: {found.help}"] if found.help else []
    lines += through(found)
    return types.Diagnostic(
        range=range_of(text, found.range),
        message="\n".join(lines),
        severity=types.DiagnosticSeverity.Warning
        if found.severity is Severity.WARNING
        else types.DiagnosticSeverity.Error,
        code=found.code,
        source="vtopo",
        related_information=[
            types.DiagnosticRelatedInformation(where, words)
            for words, where, _ in places
            if where is not None
        ]
        if related
        else None,
    )


def remark(message: str) -> types.Diagnostic:
    """What a check that did not come to its end leaves, at the top of the file."""
    start = types.Position(0, 0)
    return types.Diagnostic(
        types.Range(start, start), message, types.DiagnosticSeverity.Information, source="vtopo"
    )


def suggestion(found: Diagnostic) -> str | None:
    """What a diagnostic says was meant, if it says that of the very word that it stands at."""
    match = _SUGGESTED.fullmatch(found.help)
    return match[1] if match is not None and found.range.line == found.range.end_line else None


def completions(items: Sequence[completion.Item], prefix: str, where: types.Range) -> types.CompletionList:
    """The items that go on with `prefix`, which stands at `where`."""
    near = (
        [item for item in items if item.label.lower().startswith(prefix.lower())] if prefix else list(items)
    )
    chosen = near or list(items)
    shown = [
        types.CompletionItem(
            item.label,
            kind=_KINDS[item.kind],
            detail=item.detail or None,
            documentation=types.MarkupContent(types.MarkupKind.Markdown, item.doc) if item.doc else None,
            sort_text=f"{number:05}",
            text_edit=types.TextEdit(where, item.written or item.label),
        )
        for number, item in enumerate(chosen[:MOST_ITEMS])
    ]
    return types.CompletionList(is_incomplete=len(chosen) > MOST_ITEMS, items=shown)


def symbols(entries: Sequence[outline.Entry], text: Text) -> list[types.DocumentSymbol]:
    """The outline, nested."""
    return [
        types.DocumentSymbol(
            entry.label,
            _SYMBOLS.get(entry.kind, types.SymbolKind.Object),
            range_of(text, entry.whole),
            range_of(text, entry.place),
            detail=entry.kind,
            children=symbols(entry.inner, text),
        )
        for entry in entries
    ]


def flat_symbols(
    entries: Sequence[outline.Entry], text: Text, uri: str, container: str | None = None
) -> Iterator[types.SymbolInformation]:
    """The outline for clients that know no nested one."""
    for entry in entries:
        place = types.Location(uri, range_of(text, entry.whole))
        kind = _SYMBOLS.get(entry.kind, types.SymbolKind.Object)
        yield types.SymbolInformation(place, entry.label, kind, container_name=container)
        yield from flat_symbols(entry.inner, text, uri, entry.label)


def edits(text: Text, new: str) -> list[types.TextEdit]:
    """What makes `text` the new one: the lines between those that are the same at its start and at its end."""
    if text.text == new:
        return []
    old_lines, new_lines = text.text.splitlines(keepends=True), new.splitlines(keepends=True)
    first = 0
    for one, other in zip(old_lines, new_lines, strict=False):
        if one != other:
            break
        first += 1
    last = 0
    for one, other in zip(reversed(old_lines[first:]), reversed(new_lines[first:]), strict=False):
        if one != other:
            break
        last += 1
    start = sum(map(len, old_lines[:first]))
    end = len(text.text) - sum(map(len, old_lines[len(old_lines) - last :]))
    return [types.TextEdit(span(text, start, end), "".join(new_lines[first : len(new_lines) - last]))]
