"""The property schema: what every kind of block may say, with type, bounds, default and meaning."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Type(enum.Enum):
    """What a property's values are."""

    INTEGER = "a whole number"
    SWITCH = "`on` or `off`"
    ADDRESS = "an address, such as 10.0.0.1 or 2001:db8::1"
    INTERFACE_ADDRESS = "an address with its prefix length, such as 10.0.0.1/24"
    PREFIX = "a prefix, such as 10.0.0.0/24"
    MAC = "a MAC address, such as 02:00:00:00:00:01"
    ROUTE = "a prefix or `default`, then `via` and an address"


class Place(enum.Enum):
    """A kind of block that holds properties."""

    LAB = "lab"
    HOST = "host"
    BRIDGE = "bridge"
    LINK = "link"
    END = "end of a link"
    OVERLAY = "overlay"


@dataclass(frozen=True, slots=True)
class Property:
    """One property: its type, its bounds where it has any, whether it may stand more than once
    and is merged by its first value where templates meet, its meaning."""

    name: str
    type: Type
    doc: str
    least: int | None = None
    most: int | None = None
    many: bool = False
    keyed: bool = False
    required: bool = False
    default: str = ""


def _mtu(doc: str, default: str) -> Property:
    # 68: the least that IPv4 works with (RFC 791). 65535: what a veth takes.
    return Property("mtu", Type.INTEGER, doc, least=68, most=65535, default=default)


_TABLE: dict[Place, tuple[Property, ...]] = {
    Place.LAB: (_mtu("The MTU in bytes of all interfaces that nothing else sets.", "1500"),),
    Place.HOST: (
        Property(
            "forward", Type.SWITCH, "Whether the host forwards packets between its interfaces.", default="off"
        ),
        Property(
            "route",
            Type.ROUTE,
            "A route by way of a next hop on one of the host's subnets.",
            many=True,
            keyed=True,
        ),
    ),
    Place.BRIDGE: (
        Property(
            "subnet",
            Type.PREFIX,
            "Numbers the endpoints attached to the bridge, one prefix per family.",
            many=True,
        ),
        Property("address", Type.INTERFACE_ADDRESS, "Gives the bridge itself an address.", many=True),
        _mtu(
            "The MTU in bytes of the bridge and of what is attached to it.", "the overlay's, else the lab's"
        ),
    ),
    Place.LINK: (
        Property("subnet", Type.PREFIX, "Numbers both ends of the link, one prefix per family.", many=True),
        _mtu("The MTU in bytes of both ends.", "the bridge's, else the lab's"),
    ),
    Place.END: (
        _mtu("The MTU in bytes of this end.", "the link's"),
        Property("mac", Type.MAC, "The hardware address of this end.", default="from a hash of the names"),
    ),
    Place.OVERLAY: (
        Property(
            "vni",
            Type.INTEGER,
            "The VXLAN network identifier, 24 bits (RFC 7348).",
            least=1,
            most=2**24 - 1,
            required=True,
        ),
        Property("port", Type.INTEGER, "The UDP port of the tunnel.", least=1, most=65535, default="4789"),
        Property("remote", Type.ADDRESS, "A tunnel end outside the lab.", many=True),
        Property("subnet", Type.PREFIX, "Numbers the endpoints of all bridges of the overlay.", many=True),
        _mtu("The MTU in bytes inside the overlay.", "the underlay's less 50 (IPv4) or 70 (IPv6)"),
    ),
}

SCHEMA: Mapping[Place, Mapping[str, Property]] = {
    place: {p.name: p for p in properties} for place, properties in _TABLE.items()
}
"""Place to property name to property."""

WORDS: Mapping[str, frozenset[str]] = {"route": frozenset({"default", "via"})}
"""The words that a property itself gives a meaning; in its values no variable is looked up for them."""

DEFAULT_MTU = 1500
DEFAULT_VXLAN_PORT = 4789
