"""The canonical text of a resource's spec: equal text means an equal resource, without reading it back."""

from __future__ import annotations

import dataclasses
import json
from operator import attrgetter
from typing import TypeAlias

from vtopo.compile.resources import Resource, from_json

_Fields: TypeAlias = tuple[tuple[str, ...], "attrgetter[tuple[object, ...]]", dict[str, object]]
_known: dict[type, _Fields] = {}


def _values(value: object) -> dict[str, object]:
    """The fields of a dataclass by name; one level, since this runs for each of a large lab's resources."""
    cls = type(value)
    if cls not in _known:
        assert dataclasses.is_dataclass(cls)
        fields = [f for f in dataclasses.fields(cls) if f.compare]
        names = tuple(f.name for f in fields)
        _known[cls] = names, attrgetter(*names), {f.name: f.default for f in fields if f.metadata}
    names, get, optional = _known[cls]
    found = dict(zip(names, get(value), strict=True))
    for name, default in optional.items():  # what few resources have is in few records
        if found[name] == default:
            del found[name]
    return found


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_values).encode


_decode = json.JSONDecoder().raw_decode


def to_text(resource: Resource) -> str:
    """What `to_json` of vtopo.compile.resources says, as one line; the fields in their declared order."""
    return _encode(_values(resource))


def from_text(kind: str, text: str) -> Resource:
    """The resource that `to_text` wrote; ValueError if it is not one that this version knows."""
    data, end = _decode(text)
    if not isinstance(data, dict) or end != len(text):
        raise ValueError(f"not a {kind}: {text[:40]}")
    return from_json(kind, data)
