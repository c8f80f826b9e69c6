"""Values on the command line, such as `delay=20ms`, read by the language's own rules, but without its parser."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.cli.errors import USAGE, Failure


def read_impairment(values: Sequence[str]) -> dict[str, int]:
    """`delay=20ms` and so on; Failure for what a link does not take."""
    if not values:
        return {}
    from vtopo.model.schema.links import IMPAIRMENTS

    names = [prop.name for prop in IMPAIRMENTS]
    asked: dict[str, int] = {}
    for word in values:
        name, sign, value = word.partition("=")
        if name not in names or not sign:
            raise Failure(f"`{word}` is not PROPERTY=VALUE; a link has {', '.join(names)}", USAGE)
        asked[name] = _read(name, value, word)
    return asked


def read_time(text: str, option: str) -> float:
    """`5s`, `500ms` in seconds."""
    return _read("time", text, f"{option} {text}") / 1_000_000


def _read(name: str, text: str, where: str) -> int:
    from vtopo.lang import ast
    from vtopo.lang.source import Range
    from vtopo.model.schema.links import IMPAIRMENTS
    from vtopo.model.schema.types import Slot, Type
    from vtopo.model.values import Fault, read_value

    time = Slot("time", (Type.TIME,), (), 1, 10**12)
    slot = next((prop.slot for prop in IMPAIRMENTS if prop.name == name), None) or time
    place = Range("", 1, 1, 1, 1 + len(text))
    value = (
        ast.Integer(int(text), place) if text.isdecimal() and len(text) < 16 else ast.String((text,), place)
    )
    try:
        number = read_value(name, slot, value)[0]
    except Fault as fault:
        more = f"; {fault.help}" if fault.help else f": {fault.label}"
        raise Failure(f"{where}: {fault.message}{more}", USAGE) from fault
    assert isinstance(number, int)
    return number
