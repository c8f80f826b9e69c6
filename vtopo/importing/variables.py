"""`${NAME:-default}` of other tools' texts: a param of the lab, which stands in the string.

What compose makes of a dollar sign: the Compose Specification, "Interpolation". containerlab replaces what has a
default, and leaves `$NAME` to the node's shell unless its own environment has it.
"""

from __future__ import annotations

import re

from vtopo.importing.names import Names
from vtopo.importing.writing import Block, escaped, quoted
from vtopo.values import dataclass

_COMPOSE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<op>:?[-?=])(?P<given>[^${}]*))?\})",
    re.ASCII,
)
_CONTAINERLAB = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*)(?P<op>:?[-=])(?P<given>[^${}]*)\}", re.ASCII)
_LEFT = re.compile(r"\$\{")


@dataclass
class _Param:
    name: str
    default: str
    note: str = ""
    needed: bool = False


class Variables:
    """The variables of a file, each a param once it is used."""

    def __init__(self, names: Names, *, compose: bool) -> None:
        self._names = names
        self._pattern = _COMPOSE if compose else _CONTAINERLAB
        self._compose = compose
        self._params: dict[str, _Param] = {}

    def string(self, text: str, needed: bool = False) -> str:
        """A text as a string of the language, with its variables.

        `needed`, if it has variables however they are written, and nothing is not enough for one.
        """
        parts, at = [], 0
        for match in (_COMPOSE if needed and _COMPOSE.search(text) else self._pattern).finditer(text):
            parts.append(escaped(text[at : match.start()]))
            at = match.end()
            if match.groupdict().get("dollar"):
                # A brace that follows must not make an expression of it.
                parts.append("\\$" if text[at : at + 1] == "{" else "$")
            else:
                parts.append(f"${{{self._param(match, needed).name}}}")
        return f'"{"".join(parts)}{escaped(text[at:])}"'

    def known(self, text: str) -> str | None:
        """A text with each variable's default in its place; None if one has none."""
        found: list[str | None] = []
        at = 0
        for match in self._pattern.finditer(text):
            found.append(text[at : match.start()])
            at = match.end()
            given = (
                match.groupdict().get("given") if (match.groupdict().get("op") or "?")[-1] != "?" else None
            )
            found.append("$" if match.groupdict().get("dollar") else given)
        if any(part is None for part in found):
            return None
        return "".join(part for part in found if part is not None) + text[at:]

    def has(self, text: str) -> bool:
        """Whether a text is not what it says."""
        return self._pattern.search(text) is not None

    def _param(self, match: re.Match[str], needed: bool) -> _Param:
        groups = match.groupdict()
        name = groups.get("bare") or groups["name"]
        operator, given = groups.get("op") or "", groups.get("given") or ""
        must = operator.endswith("?")
        default = "" if must or given == '""' else given
        if name not in self._params:
            note = f"it must be set: {given}" if must and given else "it must be set" if must else ""
            self._params[name] = _Param(self._names.take(name, "param"), default, note)
        param = self._params[name]
        if default != param.default and operator and not must:
            if not param.default:
                param.default = default
            elif f'"{default}"' not in param.note:
                param.note = f'{param.note} elsewhere its default is "{default}"'.strip()
        param.needed = param.needed or (needed and not param.default) or must
        return param

    def write(self, block: Block) -> None:
        """The params."""
        if not self._params:
            return
        block.gap()
        where = "compose takes these from the environment and from .env" if self._compose else ""
        block.note(
            f"{where or 'containerlab takes these from the environment'}; vtopo with --set NAME=VALUE."
        )
        for name, param in self._params.items():
            if param.name != name:
                block.note(f"{name}: {param.name} here")
            if param.note:
                block.note(f"{name}: {param.note}")
            needed = param.needed and not param.default
            block.say(f"param {param.name}" if needed else f"param {param.name} = {quoted(param.default)}")
