"""The lab while it is worked out: what the passes of this stage fill in, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from vtopo.digests import sha256
from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range
from vtopo.model.lab import IPAddress, IPNetwork
from vtopo.model.properties import Setting, Settings
from vtopo.values import dataclass


def mac_of(lab: str, endpoint: str) -> str:
    """The hardware address of an endpoint: 02 and 40 bits of a hash of the lab's and the endpoint's full names."""
    digest = sha256(f"{lab}\0{endpoint}".encode()).digest()
    return f"02:{digest[:5].hex(':')}"


@dataclass(slots=True, eq=False)
class NodeDraft:
    """A node that was declared, with its interfaces: the ends of links that were plugged into it, and its own.

    `settings` are the properties that the layout of the lab may depend on; the late ones among `statements` are
    read into `late` when addresses are known. `subnets` are those of a bridge's segment, `given` an uplink's
    addresses that numbering adds.
    """

    name: str
    kind: str
    parent: NodeDraft | None
    settings: Settings
    range: Range
    statements: Sequence[ast.Property] = ()
    machine: str | None = None
    via: ast.Via | None = None
    ends: list[EndDraft] = field(default_factory=list)
    subnets: list[IPNetwork] = field(default_factory=list)
    pooled: list[Setting[IPNetwork]] = field(default_factory=list)
    given: list[IPInterface] = field(default_factory=list)
    late: Settings = field(default_factory=Settings)
    is_bridge: bool = field(init=False)
    """Whether it is a switch, whose links' ends are ports."""

    def __post_init__(self) -> None:
        self.is_bridge = self.kind in {"bridge", "uplink"}

    @property
    def is_nat(self) -> bool:
        """Whether it is an uplink that leads out by the machine's own addresses."""
        return self.kind == "uplink" and "interface" not in self.settings.found

    @property
    def is_module(self) -> bool:
        """Whether it only gives names to what a module holds."""
        return self.kind == "module"

    @property
    def host(self) -> NodeDraft | None:
        """The host that it lives behind."""
        node = self.parent
        while node is not None and node.is_module:
            node = node.parent
        return node

    def path(self) -> Iterator[NodeDraft]:
        """This node and those that it lives behind, the innermost first."""
        node: NodeDraft | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True, eq=False)
class EndDraft:
    """One end of one link, or an interface that a node has by itself.

    `written` are its own addresses, `given` those that numbering adds. `peer` is the link's other end; an
    interface of the node's own has none.
    """

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
    peer: EndDraft | None = None
    lan: Segment | None = None
    """Whose broadcasts it hears; an interface that leads nowhere has none."""

    def mac(self, lab: str) -> str:
        """Its hardware address in the lab of this name."""
        return self.settings.value("mac", str) or mac_of(lab, self.full_name)

    @property
    def addresses(self) -> list[IPInterface]:
        return [s.value for s in self.written] + self.given

    @property
    def full_name(self) -> str:
        return f"{self.node.name}:{self.name}"


@dataclass(slots=True, eq=False)
class LinkDraft:
    """A link between two ends.

    `forth` has what holds from left to right only, `back` what holds the other way; `subnets` number its ends.
    """

    left: EndDraft
    right: EndDraft
    settings: Settings
    forth: Settings
    back: Settings
    range: Range
    via: ast.Via | None = None
    inside: NodeDraft | None = None
    """The node in whose block the link stands."""
    subnets: list[Setting[IPNetwork]] = field(default_factory=list)
    ends: tuple[EndDraft, EndDraft] = field(init=False)
    bridges: tuple[NodeDraft, ...] = field(init=False)
    """The switches that it ends at."""

    def __post_init__(self) -> None:
        self.left.peer, self.right.peer = self.right, self.left
        self.ends = self.left, self.right
        self.bridges = tuple(end.node for end in self.ends if end.node.is_bridge)


@dataclass(slots=True, eq=False)
class VtepDraft:
    """A tunnel end: a host's interface (None: the machine's own, `outside`), and the bridge that it extends."""

    end: EndDraft | None
    bridge: NodeDraft
    range: Range
    address: IPAddress | None = None
    outside: str = ""

    @property
    def place(self) -> NodeDraft | None:
        """The host whose interface it is at; None: the machine."""
        return self.end.node if self.end is not None else None


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
    """A broadcast domain: bridges joined by links and overlays, or one link without bridges.

    Where bridges tell VLANs apart, each VLAN is one: `vlans` has its number at each of these bridges, and `own` the
    interfaces that nodes make by themselves in it.
    """

    bridges: list[NodeDraft] = field(default_factory=list)
    links: list[LinkDraft] = field(default_factory=list)
    overlays: list[OverlayDraft] = field(default_factory=list)
    vlans: dict[NodeDraft, int] = field(default_factory=dict)
    own: list[EndDraft] = field(default_factory=list)

    def ends(self) -> Iterator[EndDraft]:
        """All ends of its links that are not bridge ports, in the order of the text; then nodes' own interfaces."""
        for link in self.links:
            for end in link.ends:
                if not end.node.is_bridge and end.lan in (self, None):
                    yield end
        yield from self.own


@dataclass(slots=True, eq=False)
class PoolDraft:
    """Addresses to hand out in blocks of `length`, declared in the block of `inside`."""

    name: str
    inside: NodeDraft | None
    prefix: IPNetwork
    length: int
    range: Range
    used: bool = False


@dataclass(slots=True)
class Draft:
    """Everything declared, by full name and in order."""

    name: str
    settings: Settings
    pools: list[PoolDraft] = field(default_factory=list)
    lost_pools: set[str] = field(default_factory=set)
    """Names of pools that are declared wrongly, which is reported there."""
    machines: dict[str, Settings] = field(default_factory=dict)
    nodes: dict[str, NodeDraft] = field(default_factory=dict)
    links: list[LinkDraft] = field(default_factory=list)
    overlays: list[OverlayDraft] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    lans: list[Segment] = field(default_factory=list)
    """The broadcast domains by VLAN: those that addresses are handed out in."""
