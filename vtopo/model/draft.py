"""The lab while it is worked out: what the passes of this stage fill in, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range
from vtopo.model.lab import IPAddress
from vtopo.model.properties import Setting, Settings


@dataclass(slots=True, eq=False)
class NodeDraft:
    """A node that was declared, with the ends of links that were plugged into it."""

    name: str
    kind: str
    parent: NodeDraft | None
    settings: Settings
    range: Range
    ends: list[EndDraft] = field(default_factory=list)

    @property
    def is_bridge(self) -> bool:
        return self.kind == "bridge"

    def path(self) -> Iterator[NodeDraft]:
        """This node and those that it lives behind, the innermost first."""
        node: NodeDraft | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True, eq=False)
class EndDraft:
    """One end of one link; `written` are its own addresses, `given` those that numbering adds."""

    node: NodeDraft
    port: ast.Word | None
    written: list[Setting[IPInterface]]
    bare: list[Setting[IPAddress]]
    numbered: bool
    settings: Settings
    range: Range
    name: str = ""
    given: list[IPInterface] = field(default_factory=list)
    mtu: int = 0

    @property
    def addresses(self) -> list[IPInterface]:
        return [s.value for s in self.written] + self.given

    @property
    def full_name(self) -> str:
        return f"{self.node.name}:{self.name}"


@dataclass(slots=True, eq=False)
class LinkDraft:
    """A link between two ends."""

    left: EndDraft
    right: EndDraft
    settings: Settings
    range: Range

    @property
    def ends(self) -> tuple[EndDraft, EndDraft]:
        return self.left, self.right

    @property
    def bridges(self) -> list[NodeDraft]:
        return [end.node for end in self.ends if end.node.is_bridge]


@dataclass(slots=True, eq=False)
class VtepDraft:
    """A tunnel end: a host's interface, and the bridge that it extends."""

    end: EndDraft
    bridge: NodeDraft
    range: Range
    address: IPAddress | None = None


@dataclass(slots=True, eq=False)
class OverlayDraft:
    """A VXLAN segment that joins the bridges of its tunnel ends."""

    name: str
    settings: Settings
    vteps: list[VtepDraft]
    range: Range
    mtu: int = 0


@dataclass(slots=True, eq=False)
class Segment:
    """A broadcast domain: bridges joined by links and overlays, or one link without bridges."""

    bridges: list[NodeDraft] = field(default_factory=list)
    links: list[LinkDraft] = field(default_factory=list)
    overlays: list[OverlayDraft] = field(default_factory=list)

    def ends(self) -> Iterator[EndDraft]:
        """All ends of its links that are not bridge ports, in the order of the text."""
        for link in self.links:
            for end in link.ends:
                if not end.node.is_bridge:
                    yield end


@dataclass(slots=True)
class Draft:
    """Everything declared, by full name and in order."""

    name: str
    settings: Settings
    nodes: dict[str, NodeDraft] = field(default_factory=dict)
    links: list[LinkDraft] = field(default_factory=list)
    overlays: list[OverlayDraft] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
