"""Texts that were written without quotes, as other languages have them: what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from vtopo.lang import ast


def quotes_for(value: ast.Expression) -> str:
    """What to write in place of a value where a string is wanted; nothing if it is not one word in all."""
    text = _written(value)
    return f'a string stands in quotes: "{text}"' if text else ""


def bare_words(value: ast.Expression) -> Iterator[str]:
    """The first words of all names in a value."""
    match value:
        case ast.Reference():
            yield value.parts[0].name.text
        case ast.Pair(first=left, second=right) | ast.Binary(left=left, right=right):
            yield from bare_words(left)
            yield from bare_words(right)


def _written(value: ast.Expression) -> str:
    match value:
        case ast.Reference(parts=parts) if not any(part.indices for part in parts):
            return ".".join(part.name.text for part in parts)
        case ast.Pair(first=left, second=right):
            return _joined(left, ":", right)
        case ast.Binary(operator=operator, left=left, right=right) if operator in {"/", "%", "+", "-"}:
            return _joined(left, operator, right)
        case ast.Integer(value=number):
            return str(number)
        case ast.Quantity():
            return value.number + value.unit
        case ast.Decimal(text=text) | ast.Address(text=text):
            return text
    return ""


def _joined(left: ast.Expression, sign: str, right: ast.Expression) -> str:
    before, after = _written(left), _written(right)
    return f"{before}{sign}{after}" if before and after else ""
