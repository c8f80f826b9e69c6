"""What a template sees of the lab: its nodes with their data, interfaces and addresses, as plain values."""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.model.draft import Draft, EndDraft, NodeDraft
from vtopo.model.text import Fact, fact_of


def facts_of_lab(draft: Draft) -> Mapping[str, Fact]:
    """`lab.name`, and `lab.nodes` by their full names."""
    nodes: dict[str, Fact] = {
        n.name: facts_of_node(draft, n) for n in draft.nodes.values() if not n.is_module
    }
    return {"name": draft.name, "nodes": nodes}


def facts_of_node(draft: Draft, node: NodeDraft) -> dict[str, Fact]:
    """A node: `name`, `hostname`, `kind`, `data`, `env`, and `interfaces` by name, in order."""
    data = {str(s.slots["key"]): fact_of(s.slots["value"]) for s in node.settings.many("data")}
    env = {str(s.slots["key"]): fact_of(s.slots["value"]) for s in node.late.many("env")}
    return {
        "name": node.name,
        "hostname": node.name.replace(".", "-"),
        "kind": node.kind,
        "data": data,
        "env": env,
        "interfaces": {end.name: _interface(draft, end) for end in node.ends},
        "subnets": [str(subnet) for subnet in node.subnets],
    }


def _interface(draft: Draft, end: EndDraft) -> dict[str, Fact]:
    """An interface: `address` and `address6` are the first ones without their lengths, `prefix` and `prefix6` with
    them, `network` and `network6` the subnets they are in; empty if there is none."""
    found: dict[str, Fact] = {
        "name": end.name,
        "mac": end.mac(draft.name),
        "mtu": end.mtu,
        "addresses": [str(a) for a in end.addresses],
        "peer": {"node": end.peer.node.name, "interface": end.peer.name} if end.peer is not None else None,
    }
    for version, suffix in ((4, ""), (6, "6")):
        first = next((a for a in end.addresses if a.version == version), None)
        found[f"address{suffix}"] = str(first.ip) if first is not None else ""
        found[f"prefix{suffix}"] = str(first) if first is not None else ""
        found[f"network{suffix}"] = str(first.network) if first is not None else ""
    return found
