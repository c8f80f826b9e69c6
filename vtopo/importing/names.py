"""Names of other tools to names of the language: each is free, and says so where it had to change."""

from __future__ import annotations

import re

from vtopo.importing.writing import is_name
from vtopo.lang.syntax_errors import RESERVED

LONGEST_NODE = 60
"""Bytes of a host's name, with room for the number of one among many (the kernel's limit is 64)."""

LONGEST_BRIDGE = 15


def made_name(text: str, longest: int, otherwise: str) -> str:
    """The name that is most like a text; reserved words and digits in front are led by `otherwise`."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")
    if not name:
        return f"{otherwise}1"
    if name[0].isdigit() or name in RESERVED:
        name = f"{otherwise}-{name}"
    return _cut(name, longest)


class Names:
    """The names that are taken: nodes, bridges, pools and params share one space."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, text: str, otherwise: str, longest: int = LONGEST_NODE, count: int = 1) -> str:
        """A free name for `text`, now taken; with a `count`, NAME1 to NAMEcount as well."""
        name = made_name(text, longest, otherwise)
        for number in range(2, len(self._taken) + 3):
            wanted = {name, *(f"{name}{n}" for n in range(1, count + 1) if count > 1)}
            if not wanted & self._taken:
                break
            name = f"{_cut(made_name(text, longest, otherwise), longest - 1 - len(str(number)))}-{number}"
        self._taken |= wanted
        assert is_name(name)
        return name


def _cut(name: str, longest: int) -> str:
    return name[:longest].rstrip("-")
