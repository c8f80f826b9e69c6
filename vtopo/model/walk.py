"""Walks a syntax tree: what is named anywhere in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from vtopo.lang import ast
from vtopo.lang.source import Range


def families(*files: ast.File) -> frozenset[str]:
    """The names that are declared in index form anywhere in some files, though a loop may make none of them."""
    parts = (part for file in files for part in tree_parts(file.statements))
    found = [part.declared for part in parts if isinstance(part, ast.NodeStatement)]
    return frozenset(declared.name.text for declared in found if declared.indices)


def names_self(block: ast.Block) -> bool:
    """Whether `self` stands anywhere in a block."""
    return any(
        isinstance(part, ast.Reference) and part.parts[0].name.text == "self" for part in tree_parts(block)
    )


def mentioned(tree: object) -> Iterator[str]:
    """The words of a tree that may name a variable or a template where they stand."""
    for part in tree_parts(tree):
        if isinstance(part, ast.Reference):
            yield part.parts[0].name.text
        elif isinstance(part, ast.NodeStatement):
            yield from (word.text for word in part.templates)
        elif isinstance(part, ast.TemplateStatement):
            yield from (word.text for word in part.bases)


def tree_parts(tree: object) -> Iterator[object]:
    """All that a tree is made of, in no order."""
    pending: list[object] = [tree]
    while pending:
        value = pending.pop()
        if isinstance(value, tuple):
            pending.extend(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, Range | ast.Word):
            yield value
            pending.extend(getattr(value, name) for name in getattr(type(value), "__match_args__", ()))
