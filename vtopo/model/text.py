"""Values of the language as text, and as what a template sees of them."""

from __future__ import annotations

from typing import TypeAlias

from vtopo.lang import ast
from vtopo.model.values import Read

Fact: TypeAlias = "bool | int | float | str | list[Fact] | dict[str, Fact] | None"
"""What a template sees."""


def literal_text(value: object) -> str | None:
    """A literal or a word as a string's `${…}` shows it; None for what has no text there, such as a list."""
    match value:
        case ast.Integer():
            return str(value.value)
        case ast.Decimal() | ast.Address() | ast.Mac() | ast.String():
            return value.text
        case ast.Quantity():
            return value.number + value.unit
        case ast.Switch():
            return "on" if value.value else "off"
        case ast.Reference(word=word) if word is not None:
            return word
    return None


def text_of(value: Read) -> str:
    """A plain value as a template or an environment shows it."""
    text = literal_text(value)
    if text is not None:
        return text
    match value:
        case ast.ListValue(items=items):
            return " ".join(text_of(item) for item in items if not isinstance(item, ast.Late))  # type: ignore[arg-type]
        case ast.Interval(first=first, last=last):
            return f"{text_of(first)}..{text_of(last)}"  # type: ignore[arg-type]
    return str(value)


def fact_of(value: Read) -> Fact:
    """A plain value as a template sees it: numbers, switches and lists as such, all else as text."""
    match value:
        case ast.Integer(value=number):
            return number
        case ast.Decimal(text=text):
            return float(text)
        case ast.Switch(value=on):
            return on
        case ast.ListValue(items=items):
            return [fact_of(item) for item in items]  # type: ignore[arg-type]
        case ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last)):
            return list(range(first, min(last, first + 100_000) + 1))
        case bool() | int():
            return value
    return text_of(value)
