"""Graph to Graphviz: nodes by kind, a host with things inside as a cluster, overlays drawn across."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vtopo.compile.resources.ports import vlan_text
from vtopo.graph.topology import SWITCHES, Topology
from vtopo.model.lab import Device, Interface, Lab, Link, Overlay, Uplink, Vtep

if TYPE_CHECKING:
    import graphviz

_FONT = "Helvetica,Arial,sans-serif"
_KINDS: dict[str, dict[str, str]] = {
    "host": {"shape": "box", "style": "filled,rounded", "fillcolor": "#eaf2fb", "color": "#2f6db0"},
    "container": {"shape": "box3d", "style": "filled", "fillcolor": "#e3f4f1", "color": "#1f7a6d"},
    "vm": {
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#e9f5e1",
        "color": "#4b7f27",
        "peripheries": "2",
    },
    "uplink": {"shape": "house", "style": "filled", "fillcolor": "#f6e5e5", "color": "#a33b3b"},
    "bridge": {
        "shape": "box",
        "style": "filled",
        "fillcolor": "#fdf1dc",
        "color": "#b9770e",
        "height": "0.3",
    },
    "overlay": {"shape": "ellipse", "style": "filled,dashed", "fillcolor": "#eee6f7", "color": "#7a3fb3"},
}
_CLUSTER = {
    "style": "rounded",
    "color": "#9bb8d6",
    "bgcolor": "#f6f9fd",
    "fontcolor": "#2f6db0",
    "margin": "14",
}
_MODULE = {**_CLUSTER, "style": "rounded,dashed", "bgcolor": "white", "labeljust": "l", "fontname": _FONT}
_TUNNEL = {"style": "dashed", "color": "#7a3fb3", "fontcolor": "#7a3fb3"}


def dot(lab: Lab, graph: Topology) -> graphviz.Graph:
    """The drawing of a lab, as deterministic as its text."""
    import graphviz

    drawing = graphviz.Graph(
        lab.name,
        graph_attr={
            "label": lab.name,
            "labelloc": "t",
            "fontname": _FONT,
            "fontsize": "16",
            "rankdir": "LR",
            "nodesep": "0.25",
            "ranksep": "0.6",
            "bgcolor": "white",
        },
        node_attr={"fontname": _FONT, "fontsize": "11", "height": "0.35", "margin": "0.12,0.05"},
        edge_attr={"fontname": _FONT, "fontsize": "9", "color": "#555555"},
    )
    overlays = {f"overlay:{o.name}": o for o in lab.overlays}
    below = {u.name: [_uplink_label(u)] for u in lab.uplinks}
    for device in lab.devices:
        if device.kind != "loopback":
            below.setdefault(device.node, []).append(_device_label(device))
    _nodes(drawing, graph, overlays, below, "")
    for a, b, data in graph.edges(data=True):
        link, vtep = data.get("link"), data.get("vtep")
        if isinstance(link, Link):
            bridges = {n for n in (a, b) if graph.nodes[n]["kind"] in SWITCHES}
            drawing.edge(_id(link.left.node), _id(link.right.node), label=_link_label(link, bridges))
        elif isinstance(vtep, Vtep):
            overlay, bridge = (a, b) if a in overlays else (b, a)
            drawing.edge(_id(bridge), _id(overlay), label=_vtep_label(vtep), **_TUNNEL)
    return drawing


def _nodes(
    drawing: graphviz.Graph,
    graph: Topology,
    overlays: dict[str, Overlay],
    below: Mapping[str, Sequence[str]],
    around: str,
) -> None:
    """The nodes whose names begin with `around`: those with something inside, and modules, become clusters."""
    inside: dict[str, bool] = {}
    for name in graph.nodes:
        if name.startswith(around):
            first, _, more = _own(name, overlays)[len(around) :].partition(".")
            inside[around + first] = inside.get(around + first, False) or bool(more)
    names = {_own(name, overlays): name for name in graph.nodes}
    for path, holds in inside.items():
        name = names.get(path)
        if name is None:
            label = path.removeprefix(around)
            with drawing.subgraph(name=f"cluster_{path}", graph_attr={"label": label, **_MODULE}) as cluster:
                _nodes(cluster, graph, overlays, below, f"{path}.")
            continue
        label = _overlay_label(overlays[name]) if name in overlays else path.rpartition(".")[2]
        attributes = _KINDS[graph.nodes[name]["kind"]]
        if holds:
            # The host itself stands in its cluster with its name in bold; a title would say it twice.
            with drawing.subgraph(name=f"cluster_{name}", graph_attr={"label": "", **_CLUSTER}) as cluster:
                lines = "".join(f"<br/>{html.escape(line)}" for line in below.get(name, ()))
                cluster.node(_id(name), label=f"<<b>{label}</b>{lines}>", **attributes)
                _nodes(cluster, graph, overlays, below, f"{path}.")
        else:
            drawing.node(_id(name), label="\n".join([label, *below.get(name, ())]), **attributes)


def _own(name: str, overlays: dict[str, Overlay]) -> str:
    """A node's name as it stands among the others; an overlay's is no path."""
    return name.replace(".", "/") if name in overlays else name


def _id(name: str) -> str:
    """A name that Graphviz reads no port into (`a:b` is port b of node a)."""
    return name.replace(":", "/")


def _overlay_label(overlay: Overlay) -> str:
    port = f", UDP {overlay.port}" if overlay.port != 4789 else ""
    return f"{overlay.name}\nVXLAN {overlay.vni}{port}\nMTU {overlay.mtu}"


def _uplink_label(uplink: Uplink) -> str:
    """What stands under an uplink's name: where it leads out, and what leads in."""
    way = "NAT" if uplink.interface is None else uplink.interface
    ports = (f"{p.protocol} {p.port} → {p.node}:{p.to_port}" for p in uplink.publish)
    return "\n".join((way, *ports))


def _link_label(link: Link, bridges: set[str]) -> str:
    ends = (link.left, link.right)
    lines = [_end_label(end) for end in ends if end.node not in bridges]
    # A link between bridges has one label where both ends agree on the VLANs.
    return "\n".join([*lines, *dict.fromkeys(filter(None, map(_vlans_label, ends)))])


def _vlans_label(end: Interface) -> str:
    """`vlan 10`, `trunk 10,20-29` of a bridge's port; nothing of others."""
    port = end.port
    if port is None:
        return ""
    words = [f"vlan {port.vlan}"] if port.vlan else []
    return ", ".join([*words, *([f"trunk {vlan_text(port.trunk)}"] if port.trunk else [])])


def _device_label(device: Device) -> str:
    """`v10: vlan 10 on eth0 10.0.10.1/24`, of an interface that a node makes by itself."""
    what = {
        "vlan": f"vlan {device.number} on {', '.join(device.of)}",
        "bond": f"bond of {', '.join(device.of)}",
        "vrf": f"vrf {device.number} of {', '.join(device.of)}",
    }.get(device.kind, device.kind)
    return " ".join([f"{device.name}: {what}", *map(str, device.addresses)])


def _end_label(end: Interface) -> str:
    node = end.node.rpartition(".")[2]
    return " ".join([f"{node}:{end.name}", *map(str, end.addresses)])


def _vtep_label(vtep: Vtep) -> str:
    if vtep.host is None:
        address = "" if vtep.address.is_unspecified else f"\n{vtep.address}"
        return f"the machine's {vtep.interface}{address}"
    return f"{vtep.host}:{vtep.interface}\n{vtep.address}"
