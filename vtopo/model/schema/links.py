"""What a link, its ends and its directions may say."""

from __future__ import annotations

from vtopo.model.schema.types import Property, Type, one, optional, slot

MILLION = 1_000_000


def mtu(doc: str, default: str) -> Property:
    """The MTU of something; 68 is the least that IPv4 works with (RFC 791), 65535 what a veth takes."""
    return one("mtu", Type.INTEGER, doc, least=68, most=65535, default=default)


def _share(name: str, doc: str) -> Property:
    return one(name, Type.SHARE, doc, least=0, most=MILLION, default="0%")


# tc-netem(8) and tc-tbf(8) have what these do; times up to netem's limit of 2^32 µs.
IMPAIRMENTS = (
    one("rate", Type.RATE, "At most this many bits per second.", least=1000, most=10**12, default="no limit"),
    one(
        "burst",
        Type.SIZE,
        "What may pass at once before `rate` holds.",
        least=1,
        most=2**31,
        default="what 10 ms of `rate` are, at least an MTU",
    ),
    one("delay", Type.TIME, "Added to the way of each packet.", least=0, most=2**32 - 1, default="0ms"),
    one(
        "jitter",
        Type.TIME,
        "How far the delay varies, normally distributed.",
        least=0,
        most=2**32 - 1,
        default="0ms",
    ),
    _share("loss", "The share of packets that are lost."),
    _share("duplicate", "The share of packets that come twice."),
    _share("corrupt", "The share of packets with a flipped bit."),
    _share("reorder", "The share of packets that overtake the delayed ones; it needs a `delay`."),
)

VLAN = (
    one("vlan", Type.INTEGER, "The untagged VLAN of a bridge's port (IEEE 802.1Q).", least=1, most=4094),
    one("trunk", Type.INTEGERS, "The tagged VLANs of a bridge's port.", least=1, most=4094),
)
_STATE = one("state", Type.WORD, "Whether the interface is up.", words=("up", "down"), default="up")

DIRECTION = IMPAIRMENTS

LINK = (
    one("subnet", Type.PREFIX, "Numbers both ends of the link, one prefix per family.", many=True),
    one("pool", Type.NAME, "Numbers both ends of the link from the pool's next block.", many=True),
    mtu("The MTU in bytes of both ends.", "the bridge's, else the lab's"),
    _STATE,
    *VLAN,
    *IMPAIRMENTS,
)

END = (
    mtu("The MTU in bytes of this end.", "the link's"),
    one("mac", Type.MAC, "The hardware address of this end.", default="from a hash of the names"),
    _STATE,
    *VLAN,
    one(
        "isolated",
        Type.SWITCH,
        "Whether this bridge's port hears only ports that are not isolated.",
        default="off",
    ),
    one(
        "learning",
        Type.SWITCH,
        "Whether the bridge learns from this port where addresses are.",
        default="on",
    ),
    one(
        "flood",
        Type.SWITCH,
        "Whether this bridge's port gets frames to addresses that the bridge does not know.",
        default="on",
    ),
    one(
        "cost",
        Type.INTEGER,
        "What the way through this bridge's port costs in a spanning tree.",
        least=1,
        most=65535,
        default="2",
    ),
    Property(
        "static-mac",
        "An address that is behind this bridge's port, whatever the bridge learns.",
        optional((slot("mac", Type.MAC),), ("vlan", slot("vlan", Type.INTEGER, least=1, most=4094))),
        many=True,
        example="static-mac 02:00:00:00:00:0a",
    ),
)
