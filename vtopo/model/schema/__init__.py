"""The property schema: what every kind of block may say, with type, bounds, default and meaning.

From it alone follow checking, messages, completion, hover and the reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.model.schema.links import DIRECTION, END, LINK, mtu
from vtopo.model.schema.nodes import CONTAINER, HOST
from vtopo.model.schema.switches import BRIDGE, OVERLAY, UPLINK
from vtopo.model.schema.types import (
    DIMENSIONS,
    VERBATIM,
    Form,
    Place,
    Property,
    Slot,
    Type,
    describe,
    one,
    slot,
)
from vtopo.model.schema.vms import NOT_OF_A_VM, VM

__all__ = [
    "DEFAULT_MTU",
    "DEFAULT_VXLAN_PORT",
    "DIMENSIONS",
    "ELSEWHERE",
    "KIND_PLACES",
    "SCHEMA",
    "VERBATIM",
    "Form",
    "Place",
    "Property",
    "Slot",
    "Type",
    "describe",
]

_TABLE: dict[Place, tuple[Property, ...]] = {
    Place.LAB: (
        mtu("The MTU in bytes of all interfaces that nothing else sets.", "1500"),
        one(
            "overcommit",
            Type.NUMBER,
            "How many times the machine's CPUs and memory its vms may see; more is an error.",
            least=1000,
            most=10**6,
            default="no limit",
        ),
    ),
    Place.MACHINE: (
        one("address", Type.ADDRESS, "The machine's address, which tunnels between machines end at."),
        one("ssh", Type.TEXT, "How ssh(1) reaches it."),
    ),
    Place.HOST: HOST,
    Place.CONTAINER: CONTAINER,
    Place.VM: VM,
    Place.BRIDGE: BRIDGE,
    Place.UPLINK: UPLINK,
    Place.LINK: LINK,
    Place.END: END,
    Place.DIRECTION: DIRECTION,
    Place.OVERLAY: OVERLAY,
    Place.SCENARIO: (
        Property(
            "do",
            "A fault, or its repair, as `vtopo node` and `vtopo link` do it.",
            (
                (
                    "node",
                    slot("node", Type.NODE),
                    slot("action", Type.WORD, words=("kill", "pause", "resume", "stop", "start", "restart")),
                ),
                (
                    "link",
                    slot("left", Type.NODE),
                    slot("right", Type.NODE),
                    slot("action", Type.WORD, words=("up", "down")),
                ),
            ),
            many=True,
            example="do node r2 kill",
        ),
    ),
}

SCHEMA: Mapping[Place, Mapping[str, Property]] = {
    place: {p.name: p for p in properties} for place, properties in _TABLE.items()
}
"""Place to property name to property."""

ELSEWHERE: Mapping[Place, Mapping[str, str]] = {Place.VM: NOT_OF_A_VM}
"""What a place cannot have though it might be looked for there, with what to do instead."""

KIND_PLACES: Mapping[str, Place] = {
    place.value: place for place in (Place.HOST, Place.CONTAINER, Place.VM, Place.BRIDGE, Place.UPLINK)
}
"""A node's kind to the place of its properties."""

DEFAULT_MTU = 1500
DEFAULT_VXLAN_PORT = 4789
