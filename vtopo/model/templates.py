"""Layers: what `default`, templates and a node's own block say together, the later over the earlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vtopo.lang import ast
from vtopo.model.schema import Property


def merge(layers: Sequence[Sequence[ast.Statement]], known: Mapping[str, Property]) -> list[ast.Statement]:
    """The statements of a block in layers.

    Of a property with one value the last layer's stays; keyed ones (`route`) merge by their key, `run` and
    `exec` add up, in the order in which they are written; lists replace. What a single layer says twice stays
    twice, for the reader of properties to report. Other statements (nodes, links) are all kept.
    """
    properties: dict[str, list[ast.Property]] = {}
    appended: list[ast.Statement] = []
    others: list[ast.Statement] = []
    for layer in layers:
        groups: dict[str, list[ast.Property]] = {}
        for statement in layer:
            if isinstance(statement, ast.Property):
                prop = known.get(statement.key.text)
                if prop is not None and prop.append:
                    appended.append(statement)
                    continue
                groups.setdefault(statement.key.text, []).append(statement)
            else:
                others.append(statement)
        for name, group in groups.items():
            prop = known.get(name)
            earlier = properties.get(name, []) if prop is not None and prop.keyed else []
            new = {key_of(statement) for statement in group} if prop is not None and prop.keyed else set()
            properties[name] = [s for s in earlier if not new or key_of(s) not in new] + group
    return [statement for group in properties.values() for statement in group] + appended + others


def key_of(statement: ast.Property) -> str:
    """What a keyed property is keyed by: its first value; `default` is one of each family, and of each VRF."""
    match statement.values:
        case [*route, ast.Reference(word="vrf"), ast.Reference(word=str(vrf))] if len(route) == 3:
            return f"{_key(route)} vrf {vrf}"
    return _key(statement.values)


def _key(values: Sequence[ast.Expression]) -> str:
    match values:
        case [ast.Address(value=value), *_] if value is not None:
            return str(value)
        case [ast.Address(text=text), *_] | [ast.String(parts=(str(text),)), *_]:
            return text
        case [ast.Reference(word="default"), *_, ast.Address(text=hop) | ast.String(parts=(str(hop),))]:
            return "default IPv6" if ":" in hop else "default IPv4"
        case [ast.Reference() as name, *_]:
            return ".".join(part.name.text for part in name.parts)
        case [ast.Integer(value=number), *_]:
            return str(number)
        case [ast.Pair(first=ast.Integer(value=port)), *rest]:
            words = [value.word for value in rest if isinstance(value, ast.Reference)]
            return f"{port}/{words[0] if words else 'tcp'}"
    return ""
