"""The canonical text of a resource's spec: equal text means an equal resource, without reading it back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any

from vtopo.compile.resources import Resource, from_json


class _Writers(dict[type, Callable[[Any], str]]):
    """What writes the values of a type as JSON; made for each dataclass when the first of it is written.

    The library's encoder would be begun anew for each of a large lab's resources, which takes nearly twice as long.
    """

    def __missing__(self, cls: type) -> Callable[[object], str]:
        if not dataclasses.is_dataclass(cls):
            raise TypeError(f"a resource has a {cls.__name__}")
        fields = [f for f in dataclasses.fields(cls) if f.compare]
        optional = [f for f in fields if f.metadata]
        writer = self._of([f for f in fields if not f.metadata])
        if optional:  # what few resources have is in few records
            writer = self._of_some(fields, optional, writer)
        self[cls] = writer
        return writer

    def _of(self, fields: list[dataclasses.Field[object]]) -> Callable[[object], str]:
        get = _getter(fields)
        form = f"{{{','.join([f'{encode_basestring(f.name)}:%s' for f in fields])}}}"
        return lambda value: form % tuple([self[v.__class__](v) for v in get(value)])

    def _of_some(
        self,
        fields: list[dataclasses.Field[object]],
        optional: list[dataclasses.Field[object]],
        without: Callable[[object], str],
    ) -> Callable[[object], str]:
        get = _getter(optional)
        defaults = tuple(f.default for f in optional)
        others: dict[frozenset[str], Callable[[object], str]] = {}

        def write(value: object) -> str:
            found = get(value)
            if found == defaults:
                return without(value)
            left_out = frozenset(f.name for f, v in zip(optional, found, strict=True) if v == f.default)
            if left_out not in others:
                others[left_out] = self._of([f for f in fields if f.name not in left_out])
            return others[left_out](value)

        return write


def _getter(fields: list[dataclasses.Field[object]]) -> Callable[[object], tuple[object, ...]]:
    names = [f.name for f in fields]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


_write = _Writers()
_write[str] = encode_basestring
_write[int] = repr
_write[bool] = {True: "true", False: "false"}.__getitem__
_write[type(None)] = lambda _none: "null"
_write[tuple] = lambda values: f"[{','.join([_write[v.__class__](v) for v in values])}]"


_decode = json.JSONDecoder().raw_decode


def to_text(resource: Resource) -> str:
    """What `to_json` of vtopo.compile.resources says, as one line; the fields in their declared order."""
    return _write[type(resource)](resource)


def from_text(kind: str, text: str) -> Resource:
    """The resource that `to_text` wrote; ValueError if it is not one that this version knows."""
    data, end = _decode(text)
    if not isinstance(data, dict) or end != len(text):
        raise ValueError(f"not a {kind}: {text[:40]}")
    return from_json(kind, data)
