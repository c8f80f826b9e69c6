"""Diagnostics as text: message, the source lines with carets, help, where to read more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from vtopo.lang.ast import Address, Decimal, Expression, Integer, Mac, Quantity, Reference, String
from vtopo.lang.diagnostics import REFUSED, Diagnostic, Severity
from vtopo.lang.source import Range, Source
from vtopo.values import dataclass

Style = Callable[[str, str], str]
"""Paints a text by role: `error`, `warning`, `frame`, `bold`."""

TAB = 4
"""Columns that a tab is shown as."""

MOST_VIA = 8
"""Expansions that are named below a diagnostic."""

LONGEST = 160
"""Characters of a source line that are shown; of a longer one a stretch around the first caret."""


_PARTICULAR = re.compile(r"`[^`]*`|\S*\d\S*")
"""The names and numbers in a message."""


def plain(text: str, _role: str) -> str:
    """A style that paints nothing."""
    return text


@dataclass(frozen=True, slots=True)
class _Mark:
    range: Range
    text: str
    primary: bool


def gathered(diagnostics: Iterable[Diagnostic]) -> Iterator[tuple[Diagnostic, int]]:
    """The first diagnostic of each code at a place, and how many others it stands for: a range's or a loop's."""
    alike: dict[tuple[object, ...], list[Diagnostic]] = {}
    for d in diagnostics:
        words = (_PARTICULAR.sub("", text) for text in (d.message, d.label, d.help))
        alike.setdefault((d.code, d.range, *words), []).append(d)
    for first, *others in alike.values():
        yield first, len(others)


def render(
    diagnostic: Diagnostic,
    sources: Mapping[str, Source],
    style: Style = plain,
    *,
    others: int = 0,
    more: bool = True,
) -> str:
    """The diagnostic for a reader; `sources` has the text of the files that it speaks of.

    `others` are like it at the same place. With `more` the last line says where its code is explained; once for
    each code of a run is enough.
    """
    role = diagnostic.severity.value
    # What stopped a run may quote the lines that a command printed.
    said = diagnostic.message.split("\n") if diagnostic.code == REFUSED else [diagnostic.message]
    message = "\n".join(map(_untab, said))
    head = style(f"{role}[{diagnostic.code}]", role) + style(f": {message}", "bold")
    marks = [_Mark(diagnostic.range, diagnostic.label, True)]
    marks += [_Mark(o.range, o.text, False) for o in diagnostic.others]
    width = max(len(str(m.range.line)) for m in marks)
    lines = [head]
    paths = [diagnostic.range.path, *(m.range.path for m in marks if m.range.path != diagnostic.range.path)]
    for number, path in enumerate(dict.fromkeys(paths)):
        here = sorted(
            (m for m in marks if m.range.path == path), key=lambda m: (m.range.line, m.range.column)
        )
        first = diagnostic.range if number == 0 else here[0].range
        arrow = style("-->" if number == 0 else ":::", "frame")
        lines.append(f"{' ' * (width + 1)}{arrow} {_untab(str(first))}")
        lines += _snippet(here, sources.get(path), width, role, style)
    notes = [("help", diagnostic.help)] if diagnostic.help else []
    notes += [("note", text) for text in through(diagnostic)]
    if others:
        notes.append(("note", f"so it is with {others} more that this line stands for"))
    if more:
        notes.append(("note", f"`vtopo explain {diagnostic.code}` says more"))
    if notes:
        lines.append(_bar(width, "", style))
    for what, text in notes:
        lines.append(f"{' ' * (width + 1)} {style('=', 'frame')} {style(what, 'bold')}: {_untab(text)}")
    return "\n".join(lines)


def _bar(width: int, gutter: str, style: Style) -> str:
    return style(f" {gutter:>{width}} |", "frame")


def through(diagnostic: Diagnostic) -> Iterator[str]:
    """What the text was unrolled through, a line each, the innermost first."""
    via = diagnostic.via
    for _ in range(MOST_VIA):
        if via is None:
            return
        names = ", ".join(f"{name} = {_shown(value)}" for name, value in via.names)
        yield f"in {via.words}{f' with {names}' if names else ''} ({via.range})"
        via = via.outer


def _shown(value: Expression) -> str:
    match value:
        case Integer(value=number):
            return str(number)
        case String():
            return f'"{value.text}"'
        case Decimal(text=text) | Address(text=text) | Mac(text=text):
            return text
        case Quantity():
            return value.number + value.unit
        case Reference(word=word) if word is not None:
            return word
    return "…"


def _snippet(marks: list[_Mark], source: Source | None, width: int, role: str, style: Style) -> list[str]:
    if source is None or not source.text:
        return []
    lines = [_bar(width, "", style)]
    shown = 0
    start = 0
    for mark in marks:
        number, line = mark.range.line, source.line(mark.range.line)
        if shown and number > shown + 1:
            lines.append(style("...", "frame"))
        if number != shown:
            start = max(0, mark.range.column - 1 - LONGEST // 3) if len(line) > LONGEST else 0
            lines.append(f"{_bar(width, str(number), style)} {_window(line, start)}".rstrip())
            shown = number
        lines.append(f"{_bar(width, '', style)} {_carets(mark, line, start, role, style)}")
    return lines


def _window(line: str, start: int) -> str:
    """A line as it is shown: of a very long one the stretch from `start`, with its cuts marked."""
    if len(line) <= LONGEST:
        return _untab(line)
    end = start + LONGEST
    return ("…" if start else "") + _untab(line[start:end]) + ("…" if end < len(line) else "")


def _carets(mark: _Mark, line: str, start: int, role: str, style: Style) -> str:
    first = mark.range.column - 1
    last = mark.range.end_column - 1 if mark.range.end_line == mark.range.line else len(line.rstrip())
    last = min(last, start + LONGEST) if len(line) > LONGEST else last
    before = len(_untab(line[start:first])) + (1 if start else 0)
    length = max(1, len(_untab(line[first:last])))
    signs = ("^" if mark.primary else "-") * length
    return " " * before + style(f"{signs} {_untab(mark.text)}".rstrip(), role if mark.primary else "frame")


def _untab(text: str) -> str:
    """A text as a terminal can take it: tabs as spaces, what has no picture as a mark."""
    text = text.replace("\t", " " * TAB)
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    )


def summary(diagnostics: list[Diagnostic], dropped: int = 0) -> str:
    """`2 errors, 1 warning`; empty if there are none."""
    errors = sum(d.severity is Severity.ERROR for d in diagnostics)
    parts = [_count(errors, "error"), _count(len(diagnostics) - errors, "warning")]
    text = ", ".join(p for p in parts if p)
    return f"{text} (and {dropped} more not shown)" if dropped else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}" if number else ""
