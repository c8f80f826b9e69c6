"""What the nodes of a containerlab topology are: their kinds, what they inherit, and their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from vtopo.importing.names import LONGEST_BRIDGE, LONGEST_NODE, Names, made_name
from vtopo.importing.yaml_text import Field, Fields, Node, Scalar
from vtopo.values import dataclass

_BRIDGES = frozenset({"bridge", "ovs-bridge"})
_NOT_MADE = {
    "host": "it is the machine itself, which is no node of a lab",
    "ext-container": "it is a container of somebody else's",
    "k8s-kind": "a cluster of kind's",
}
SECTIONS = ("defaults", "kinds", "groups")
"""Where nodes inherit from, the weakest first."""


@dataclass
class Clab:
    """A node: its name here, what it is, and the templates that it has."""

    entry: Field
    name: str
    kind: str
    templates: list[str] = field(default_factory=list)
    mode: str = ""

    @property
    def is_bridge(self) -> bool:
        return self.kind in _BRIDGES

    @property
    def made(self) -> bool:
        """Whether it becomes a node of the lab."""
        return self.kind not in _NOT_MADE

    @property
    def is_container(self) -> bool:
        return self.made and not self.is_bridge

    @property
    def keyword(self) -> str:
        return "bridge" if self.is_bridge else "container"

    @property
    def why(self) -> str:
        return _NOT_MADE.get(self.kind, "")

    @property
    def links(self) -> bool:
        """Whether links can be plugged in."""
        return self.is_bridge or (self.made and self.mode in ("", "bridge", "none"))


class Topology:
    """The nodes by the file's names, and what they share."""

    def __init__(self, fields: Fields, names: Names) -> None:
        self._sections = {
            "defaults": _one("defaults", fields.get("defaults")),
            "kinds": _all(fields.get("kinds")),
            "groups": _all(fields.get("groups")),
        }
        self._templates: dict[tuple[str, str], str] = {}
        taken: set[str] = set()
        for section, entries in self._sections.items():
            for name in entries:
                self._templates[section, name] = _free(
                    made_name(name, LONGEST_NODE, section.rstrip("s")), taken
                )
        self.nodes: dict[str, Clab] = {}
        nodes = fields.get("nodes")
        for entry in nodes.fields if isinstance(nodes, Fields) else ():
            kind = self.inherited(entry, "kind") or ""
            longest = LONGEST_BRIDGE if kind in _BRIDGES else LONGEST_NODE
            node = Clab(entry, names.take(entry.name, "node", longest), kind)
            if node.is_container:
                node.mode = self.inherited(entry, "network-mode") or ""
                node.templates = [
                    self._templates[section, name]
                    for section, name in self._lineage(entry)
                    if (section, name) in self._templates
                ]
            self.nodes[entry.name] = node

    def _lineage(self, entry: Field) -> list[tuple[str, str]]:
        """What a node inherits from, the weakest first."""
        kind, group = self.inherited(entry, "kind") or "", self._group(entry)
        return [("defaults", "defaults"), ("kinds", kind), ("groups", group)]

    def _group(self, entry: Field) -> str:
        """A node's group; a kind may have one of its own, and so may the defaults."""
        own = _text(entry.value, "group")
        kind = _text(entry.value, "kind")
        places = [("kinds", kind)] if kind else []
        for section, name in [*places, ("defaults", "defaults")]:
            shared = self._sections[section].get(name)
            own = own or (_text(shared.value, "group") if shared is not None else "")
        return own

    def inherited(self, entry: Field, key: str) -> str | None:
        """A node's value of a key: its own, else its group's, its kind's, or all nodes'."""
        own = _text(entry.value, key)
        if own:
            return own
        kind = "" if key == "kind" else self.inherited(entry, "kind") or ""
        for section, name in (("groups", self._group(entry)), ("kinds", kind), ("defaults", "defaults")):
            shared = self._sections[section].get(name)
            if shared is not None and (text := _text(shared.value, key)):
                return text
        return None

    def templates(self) -> Iterator[tuple[str, str, Field]]:
        """Each template: its section, its name here, and what the file says."""
        for (section, name), here in self._templates.items():
            yield section, here, self._sections[section][name]

    def used(self, section: str, name: str) -> bool:
        """Whether a node of the lab has a template."""
        here = self._templates[section, name]
        return any(here in node.templates for node in self.nodes.values())


def _one(name: str, node: Node | None) -> dict[str, Field]:
    if not isinstance(node, Fields) or not node.fields:
        return {}
    return {name: Field(Scalar(name, True, "", node.range), node)}


def _all(node: Node | None) -> dict[str, Field]:
    return {f.name: f for f in node.fields} if isinstance(node, Fields) else {}


def _text(node: Node, key: str) -> str:
    found = node.get(key) if isinstance(node, Fields) else None
    return found.text if isinstance(found, Scalar) else ""


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name
