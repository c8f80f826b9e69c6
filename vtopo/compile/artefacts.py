"""What `vtopo compile` writes: the lab, its plan, its links and its drawing as files of fixed content."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from vtopo.compile.compiler import compile_lab
from vtopo.compile.docker_spec import create_body
from vtopo.compile.resources import Container, Domain, Json, Resource, to_json
from vtopo.diagram.dot import dot
from vtopo.graph.topology import topology
from vtopo.lang.source import Range
from vtopo.model.lab import Lab, Measure, Output, Reach, Way
from vtopo.plan import render
from vtopo.plan.diff import diff

FORMAT = 1
"""The version of lab.json and links.json; it grows when a field changes its meaning."""

_LINK_KINDS = frozenset(
    {
        "bridge",
        "veth",
        "vxlan",
        "machine-vxlan",
        "flood",
        "forward",
        "neighbour",
        "static-mac",
        "address",
        "route",
        "sysctl",
    }
    | {"vlan", "bond", "vrf", "dummy", "attached"}
)


def artefacts(lab: Lab) -> Mapping[str, str]:
    """File name to text; the same lab gives the same bytes on any machine."""
    resources = compile_lab(lab)
    links = [{"kind": r.kind, **to_json(r)} for r in resources if r.kind in _LINK_KINDS]
    return {
        "lab.json": _text({"format": FORMAT, **lab_json(lab)}),
        "plan.json": render.to_json(diff(resources, {}, {}), lab.name),
        "links.json": _text({"format": FORMAT, "lab": lab.name, "links": list(links)}),
        "topology.dot": dot(lab, topology(lab)).source,
        **dict(_domains(lab, resources)),
        **{
            f"docker/{r.node}.json": _text(create_body(r, lab.name))
            for r in resources
            if isinstance(r, Container)
        },
    }


def _domains(lab: Lab, resources: Sequence[Resource]) -> Iterator[tuple[str, str]]:
    """The XML of each VM, as it is where KVM works."""
    for r in resources:
        if isinstance(r, Domain):
            from vtopo.compile.domain_names import FOLDER
            from vtopo.compile.domain_xml import domain_xml

            accel: Literal["kvm", "tcg"] = "tcg" if r.accel == "tcg" else "kvm"
            yield f"libvirt/{r.node}.xml", domain_xml(r, lab.name, f"{FOLDER}/{lab.name}", accel=accel)


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def lab_json(lab: Lab) -> dict[str, Json]:
    """The resolved lab as JSON values: the fields of vtopo.model.lab, without the places in the text."""
    value = _json(lab)
    assert isinstance(value, dict)
    for name in UNSHOWN:
        del value[name]
    return value


UNSHOWN = ("unrealized",)
"""Fields of the lab that lab.json leaves out: they speak of this version of vtopo."""

ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
"""Types that are written as text."""


def _json(value: object) -> Json:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    if isinstance(value, tuple):
        return [_json(v) for v in value]
    if isinstance(value, ADDRESSES):
        return str(value)
    assert dataclasses.is_dataclass(value), type(value)
    fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    kind: dict[str, Json] = {"claim": CLAIMS[type(value)]} if type(value) in CLAIMS else {}
    return kind | {name: _json(v) for name, v in fields if not isinstance(v, Range)}


CLAIMS: Mapping[type, str] = {Reach: "reach", Output: "output", Measure: "measure", Way: "way"}
"""Claims say which they are, in a field `claim` of their own."""
