"""How far the words of a property have come in its forms, and so what can be next."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.model.schema import Property, Slot

_JOINS = frozenset({"..", "+", "-", "*", "/", "%", ":", ".", "?"})
_OPEN = frozenset({"[", "("})
_CLOSE = frozenset({"]", ")"})


def following(prop: Property, said: Sequence[str]) -> list[Slot | str]:
    """The slots and words of a property's forms that can stand after what was said of it."""
    values = _values(said)
    found: list[Slot | str] = []
    for form in prop.forms:
        whole = len(values) - 1 if values and values[-1] is None else len(values)
        if prop.many and prop.slot is not None:
            part: Slot | str | None = form[0]
        else:
            part = form[whole] if whole < len(form) else None
        fits = all(
            not isinstance(each, str) or each == value
            for each, value in zip(form, values[:whole], strict=False)
        )
        if part is not None and fits and part not in found:
            found.append(part)
    return found


def _values(said: Sequence[str]) -> list[str | None]:
    """Words as values, each by its only word, or empty; None at the end is a value that goes on (`[a, `)."""
    values: list[str | None] = []
    depth = 0
    joined = False
    for word in said:
        if word in _CLOSE:
            depth -= 1
        elif depth == 0 and word not in _JOINS:
            if joined:
                values[-1] = ""
            else:
                values.append("" if word in _OPEN else word)
        depth += word in _OPEN
        joined = depth == 0 and word in _JOINS
    if depth > 0 or joined:
        values[-1:] = [None]
    return values
