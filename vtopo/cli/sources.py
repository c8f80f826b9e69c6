"""Checks lab files for the commands, printing what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vtopo.cli.console import Console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.reading import read_bytes, read_module, read_source
from vtopo.compile.frontend import Checked, check_source
from vtopo.lang.annotations import annotation, remark
from vtopo.lang.diagnostics import Diagnostic, Diagnostics, Severity
from vtopo.lang.render import gathered, render, summary
from vtopo.lang.source import Range, Source
from vtopo.model.lab import Lab
from vtopo.model.modules import FileReader, Reader


def print_diagnostics(
    console: Console, diagnostics: Diagnostics, path: str, sources: Mapping[str, Source]
) -> None:
    """All diagnostics on stderr, with their source lines, and a count for the file `path`."""
    explained: set[str] = set()
    for diagnostic, others in gathered(diagnostics):
        if console.quiet and diagnostic.severity is Severity.WARNING:
            continue
        more = diagnostic.code not in explained
        explained.add(diagnostic.code)
        console.note(render(diagnostic, sources, console.style, others=others, more=more) + "\n")
    total = summary(list(diagnostics), diagnostics.dropped)
    if total and not console.quiet:
        console.note(f"{path}: {total}")


def print_annotations(console: Console, diagnostics: Diagnostics, path: str) -> None:
    """All diagnostics of the file `path` on standard output, as a workflow's run on GitHub reads them."""
    for diagnostic in diagnostics:
        if console.quiet and diagnostic.severity is Severity.WARNING:
            continue
        console.fact(annotation(diagnostic, in_file=Path(diagnostic.range.path).is_file()))
    if diagnostics.dropped:
        console.fact(remark(f"{path}: {diagnostics.dropped} more are not shown"))


def load_lab(console: Console, path: str, settings: Mapping[str, str]) -> Lab:
    """The lab of a file that compiles; Failure, with all its errors printed, if it does not."""
    return check_loaded(console, read_source(path), settings)


def check_loaded(console: Console, source: Source, settings: Mapping[str, str]) -> Lab:
    """The lab of a source that compiles; Failure, with all its errors printed, if it does not."""
    return check_with(console, source, settings, read_module, read_bytes)


def check_with(
    console: Console,
    source: Source,
    settings: Mapping[str, str],
    reader: Reader,
    files: FileReader | None = None,
) -> Lab:
    """The same, where `reader` reads the lab files that the lab uses, and `files` those that it puts into nodes."""
    return told(console, check_source(source, settings, reader, files))


def told(console: Console, checked: Checked) -> Lab:
    """The lab that came of a source, its warnings printed; Failure, with all its errors printed, if none did."""
    if console.json and checked.lab is None:
        console.facts({"diagnostics": [as_json(d) for d in checked.diagnostics]})
        raise Failure("", USAGE)
    print_diagnostics(console, checked.diagnostics, checked.source.path, checked.sources)
    if checked.lab is None:
        raise Failure("", USAGE)
    return checked.lab


def as_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic with ranges as editors have them: lines and columns from 0, ends exclusive."""

    def place(range_: Range) -> dict[str, object]:
        return {
            "path": range_.path,
            "start": {"line": range_.line - 1, "character": range_.column - 1},
            "end": {"line": range_.end_line - 1, "character": range_.end_column - 1},
        }

    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "range": place(diagnostic.range),
        "others": [{"range": place(o.range), "text": o.text} for o in diagnostic.others],
    }
