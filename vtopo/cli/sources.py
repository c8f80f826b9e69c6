"""Reads and checks lab files for the commands, printing what is wrong with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from vtopo.cli.console import Console
from vtopo.cli.errors import USAGE, Failure
from vtopo.compile.frontend import check_source
from vtopo.lang.annotations import annotation, remark
from vtopo.lang.diagnostics import Diagnostic, Diagnostics, Severity
from vtopo.lang.parser import MOST_BYTES
from vtopo.lang.render import gathered, render, summary
from vtopo.lang.source import Range, Source
from vtopo.model.lab import Lab
from vtopo.model.modules import FileReader, Reader, Unreadable

F = TypeVar("F", bound=Callable[..., Any])
STDIN = "-"
MOST_FILE = 8 << 20
"""Bytes of a file that a lab puts into a node."""


def read_source(path: str, most: int = MOST_BYTES) -> Source:
    """The text of a lab file, or of standard input for `-`; Failure says why it cannot be read."""
    shown = "<stdin>" if path == STDIN else path
    try:
        return Source(shown, _text(path, most))
    except Unreadable as e:
        raise Failure(f"cannot read {shown}: {e}", USAGE) from e


def read_module(path: str) -> Source:
    """The text of a file that a lab uses; Unreadable says why there is none."""
    if Path(path).exists() and not Path(path).is_file():
        raise Unreadable("it is a folder" if Path(path).is_dir() else "it is no plain file")
    return Source(path, _text(path))


def read_bytes(path: str) -> bytes:
    """The content of a file that a lab puts into a node; Unreadable says why there is none."""
    if Path(path).exists() and not Path(path).is_file():
        raise Unreadable("it is a folder" if Path(path).is_dir() else "it is no plain file")
    data = _bytes(path, MOST_FILE)
    if len(data) > MOST_FILE:
        raise Unreadable(f"it is larger than {MOST_FILE >> 20} MiB; a bind shows it without copying")
    return data


def _bytes(path: str, most: int) -> bytes:
    """Up to one byte more than `most`."""
    try:
        if path == STDIN:
            return sys.stdin.buffer.read(most + 1)
        with Path(path).open("rb") as f:
            return f.read(most + 1)
    except OSError as e:
        raise Unreadable((os.strerror(e.errno or 0)).lower()) from e


def _text(path: str, most: int = MOST_BYTES) -> str:
    data = _bytes(path, most)
    if len(data) > most:
        raise Unreadable(f"it is larger than {most // 1_000_000} MB, and no lab file is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Unreadable(f"line {line} is not UTF-8 text (byte {e.start})") from e


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


def with_settings(command: F) -> F:
    """Give a command `--set NAME=VALUE`; it gets `settings`, by name."""

    def read(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        settings: dict[str, str] = {}
        for one in given:
            name, equals, value = one.partition("=")
            if not (name and equals and value):
                raise click.BadParameter(f"{one!r} is not NAME=VALUE")
            settings[name] = value
        return settings

    help = "A param's value; may be given again for others."
    option = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", callback=read, help=help)
    return option(command)


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
    checked = check_source(source, settings, reader, files)
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
