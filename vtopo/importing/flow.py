"""A YAML value on one line, for a comment that says what was written."""

from __future__ import annotations

import json

from vtopo.importing.yaml_text import Fields, Items, Node, Scalar

_AWKWARD = frozenset("\n\r\t")


def flow(node: Node) -> str:
    """The value as YAML's flow style has it; texts of several lines with their breaks as `\\n`."""
    tag = f"{node.tag} " if node.tag else ""
    match node:
        case Scalar(text=text, plain=plain):
            shown = text if plain and not _AWKWARD & set(text) else json.dumps(text, ensure_ascii=False)
        case Items(items=items):
            shown = f"[{', '.join(map(flow, items))}]"
        case Fields(fields=fields):
            shown = f"{{{', '.join(f'{f.name}: {flow(f.value)}'.rstrip() for f in fields)}}}"
    return tag + shown
