"""Diagnostics as GitHub annotations: workflow commands that show them beside the lines of a change."""

from __future__ import annotations

from vtopo.lang.diagnostics import Diagnostic
from vtopo.lang.render import through

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def annotation(diagnostic: Diagnostic, in_file: bool = True) -> str:
    """The command of a diagnostic; `in_file`: whether its range is in a file, which an annotation can stand beside.

    The form and its escapes are those of GitHub's toolkit (actions/toolkit, packages/core/src/command.ts);
    columns are given where the range ends on its first line, as checks take them.
    """
    place = diagnostic.range
    properties = {"title": f"{diagnostic.code}: {diagnostic.message}"}
    if in_file:
        properties |= {"file": place.path, "line": str(place.line), "endLine": str(place.end_line)}
        if place.line == place.end_line:
            properties |= {"col": str(place.column), "endColumn": str(place.end_column)}
    written = ",".join(f"{name}={value.translate(_PROPERTY)}" for name, value in properties.items())
    return f"::{diagnostic.severity.value} {written}::{_text(diagnostic).translate(_DATA)}"


def remark(text: str) -> str:
    """The command of an error that has no place."""
    return f"::error::{text.translate(_DATA)}"


def _text(diagnostic: Diagnostic) -> str:
    lines = [diagnostic.label or diagnostic.message]
    lines += [f"{other.range}: {other.text}" for other in diagnostic.others]
    lines += [f"help: {diagnostic.help}"] if diagnostic.help else []
    return "\n".join([*lines, *through(diagnostic), f"`vtopo explain {diagnostic.code}` says more"])
