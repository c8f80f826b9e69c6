"""The schema as a document: docs/reference.md, which is made from it and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from vtopo.model.schema import SCHEMA, Place
from vtopo.model.schema.types import Form, Property, Slot, Type, describe
from vtopo.model.values import shown

_HEAD = """# Properties

Every property of every kind of block, with what it takes, its bounds and its default. This page is made from the
schema by `make golden`; [language.md](language.md) tells what the language is.

A property marked *several* may stand more than once; *by key* means that those of several templates merge by their
first value; *late* that its values may ask for addresses, such as `${r1.eth0.address}`.
"""


def reference() -> str:
    """The whole document."""
    return "\n".join([_HEAD, *(line for place in Place for line in _place(place))]) + "\n"


def _place(place: Place) -> Iterator[str]:
    yield f"## {place.value}"
    yield ""
    yield "| property | takes | meaning |"
    yield "| --- | --- | --- |"
    for prop in SCHEMA[place].values():
        yield from _rows(prop, "")
    yield ""


def _rows(prop: Property, prefix: str) -> Iterator[str]:
    name = f"{prefix}`{prop.name}`"
    marks = [
        word
        for word, has in (
            ("required", prop.required),
            ("several", prop.many),
            ("by key", prop.keyed),
            ("late", prop.late),
        )
        if has
    ]
    notes = f" *{', '.join(marks)}.*" if marks else ""
    default = f" Default: {prop.default}." if prop.default else ""
    yield f"| {name} | {_cell(takes(prop))} | {_cell(prop.doc)}{_cell(default)}{notes} |"
    for inner in prop.block:
        yield from _rows(inner, f"{name} › ")


def takes(prop: Property) -> str:
    """What a property takes, form by form."""
    if prop.slot is not None:
        return describe(prop.slot) + bounds(prop.slot)
    return "; ".join(_form(form) for form in prop.forms if form) or "a block"


def _form(form: Form) -> str:
    parts = [part if isinstance(part, str) else f"{part.name.upper()}" for part in form]
    slots = [part for part in form if isinstance(part, Slot)]
    where = ", ".join(f"{slot.name.upper()}: {describe(slot)}{bounds(slot)}" for slot in slots)
    return f"`{' '.join(parts)}` ({where})" if slots else f"`{' '.join(parts)}`"


def bounds(slot: Slot) -> str:
    """The bounds of a number, as a reader would write them."""
    if slot.types[0] in {Type.WORD, Type.WORDS} or (slot.least is None and slot.most is None):
        return ""
    type_ = slot.types[0]
    least = shown(type_, slot.least) if slot.least is not None else None
    most = shown(type_, slot.most) if slot.most is not None else None
    if least is None or most is None:
        return f", at least {least}" if most is None else f", at most {most}"
    return f", {least} to {most}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
