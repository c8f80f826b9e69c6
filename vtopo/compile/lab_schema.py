"""The JSON Schema of lab.json, from the dataclasses of vtopo.model.lab and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping

from vtopo.compile.artefacts import ADDRESSES, CLAIMS, FORMAT, UNSHOWN
from vtopo.lang.source import Range
from vtopo.model.lab import Lab

_PLAIN: Mapping[object, dict[str, object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    # A whole number of seconds is written as one, another as decimal text.
    float: {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^[0-9]+\.[0-9]+(e-?[0-9]+)?$"}]},
}


def schema() -> dict[str, object]:
    """The schema (draft 2020-12); every object is closed, every field is there."""
    found: dict[str, dict[str, object]] = {}
    lab = _object(Lab, found)
    properties = lab["properties"]
    assert isinstance(properties, dict)
    properties = {"format": {"const": FORMAT}, **properties}
    lab |= {"properties": properties, "required": list(properties)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lab.json of `vtopo compile`",
        **lab,
        "$defs": dict(sorted(found.items())),
    }


def text() -> str:
    """docs/lab.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _object(kind: type, found: dict[str, dict[str, object]]) -> dict[str, object]:
    hints = typing.get_type_hints(kind)
    properties: dict[str, object] = {"claim": {"const": CLAIMS[kind]}} if kind in CLAIMS else {}
    for field in dataclasses.fields(kind):
        if hints[field.name] is not Range and not (kind is Lab and field.name in UNSHOWN):
            properties[field.name] = _of(hints[field.name], found)
    return {
        "description": re.sub(r"\s+", " ", inspect.getdoc(kind) or ""),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of(hint: object, found: dict[str, dict[str, object]]) -> dict[str, object]:
    """The schema of one type; those of dataclasses are put into `found`."""
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hint in ADDRESSES:
        return {"type": "string"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return _union([_of(each, found) for each in arguments])
    if origin is tuple:
        return _array(arguments, found)
    assert isinstance(hint, type), hint
    assert dataclasses.is_dataclass(hint), hint
    if hint.__name__ not in found:
        found[hint.__name__] = {}
        found[hint.__name__] = _object(hint, found)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def _array(arguments: tuple[object, ...], found: dict[str, dict[str, object]]) -> dict[str, object]:
    if arguments[-1:] == (Ellipsis,):
        return {"type": "array", "items": _of(arguments[0], found)}
    items = [_of(each, found) for each in arguments]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _union(kinds: list[dict[str, object]]) -> dict[str, object]:
    distinct = list({json.dumps(kind): kind for kind in kinds}.values())
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
