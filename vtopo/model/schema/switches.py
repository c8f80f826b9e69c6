"""What bridges, uplinks and overlays may say."""

from __future__ import annotations

from vtopo.model.schema.links import VLAN, mtu
from vtopo.model.schema.types import Property, Type, one, slot

_SUBNET = one(
    "subnet", Type.PREFIX, "Numbers the endpoints attached to it, one prefix per family.", many=True
)
_POOL = one("pool", Type.NAME, "Numbers the endpoints attached to it from the pool's next block.", many=True)
_ADDRESS = one("address", Type.INTERFACE_ADDRESS, "Gives it an address of its own.", many=True)
_GATEWAY = Property(
    "gateway",
    "The default route of the nodes attached to it: one of them, or an address.",
    ((slot("gateway", Type.ADDRESS, Type.NODE),),),
    many=True,
    example="gateway r1",
)

_GATEWAY = Property(
    "gateway",
    "The default route of the nodes attached to it: one of them, or an address.",
    ((slot("gateway", Type.ADDRESS, Type.NODE),),),
    many=True,
    example="gateway r1",
)

BRIDGE = (
    _SUBNET,
    _POOL,
    _ADDRESS,
    _GATEWAY,
    mtu("The MTU in bytes of the bridge and of what is attached to it.", "the overlay's, else the lab's"),
    one("stp", Type.SWITCH, "Whether it takes part in a spanning tree (IEEE 802.1D).", default="off"),
    one(
        "priority",
        Type.INTEGER,
        "Which bridge is the spanning tree's root: that with the lowest.",
        least=0,
        most=65535,
        default="32768",
    ),
    # The bounds are the kernel's (net/bridge/br_private_stp.h).
    one(
        "forward-delay",
        Type.TIME,
        "How long a port of a spanning tree listens, and then learns, before it forwards.",
        least=2_000_000,
        most=30_000_000,
        default="15s",
    ),
    one(
        "hello-time",
        Type.TIME,
        "How often the root of a spanning tree says that it is there.",
        least=1_000_000,
        most=10_000_000,
        default="2s",
    ),
    one(
        "max-age",
        Type.TIME,
        "How long what the root said holds.",
        least=6_000_000,
        most=40_000_000,
        default="20s",
    ),
    Property(
        "vlan",
        "What is particular to one of its VLANs (IEEE 802.1Q).",
        ((slot("vlan", Type.INTEGER, least=1, most=4094),),),
        (
            one(
                "subnet", Type.PREFIX, "Numbers the endpoints in this VLAN, one prefix per family.", many=True
            ),
            one(
                "address", Type.INTERFACE_ADDRESS, "Gives the bridge an address of its own there.", many=True
            ),
            _GATEWAY,
        ),
        many=True,
        keyed=True,
        example="vlan 10 { subnet 10.0.10.0/24 }",
    ),
    one(
        "ageing",
        Type.TIME,
        "How long it remembers where an address is.",
        least=0,
        most=10**12,
        default="300s",
    ),
    one(
        "multicast-snooping",
        Type.SWITCH,
        "Whether it sends multicast only to ports that asked for it.",
        default="on",
    ),
)

UPLINK = (
    Property(
        "interface",
        "A real interface of the machine that is bridged in, in place of NAT.",
        ((slot("interface", Type.NAME, Type.TEXT),),),
        (
            one(
                "mode",
                Type.WORD,
                "Whether all of it is the lab's (bridge), or shared with the machine: each link's end is then a "
                "macvlan on it.",
                words=("bridge", "macvlan"),
                default="bridge",
            ),
            one(
                "takeover",
                Type.SWITCH,
                "Takes it, with `mode bridge`, though the machine itself uses it.",
                default="off",
            ),
        ),
        example='interface "enp3s0"',
    ),
    one(
        "subnet",
        Type.PREFIX,
        "Numbers the endpoints attached to it, one prefix per family.",
        many=True,
        default="with NAT and nothing else to go by, 192.168.255.0/24",
    ),
    one(
        "address",
        Type.INTERFACE_ADDRESS,
        "With NAT, its own address, which is the default route of the nodes on its segment.",
        many=True,
        default="the first free one of each subnet",
    ),
    _GATEWAY,
    mtu("The MTU in bytes of what is attached to it.", "the lab's"),
    one(
        "transit",
        Type.PREFIX,
        "With NAT, the two addresses (a /31, a /127) between the lab and the machine.",
        many=True,
        default="of 198.18.0.0/15 and fd00::/8, by a hash of the names",
    ),
    Property(
        "publish",
        "A port of the machine that leads to one of a node of the lab.",
        (
            (slot("ports", Type.PORTS), "to", slot("node", Type.NODE)),
            (
                slot("ports", Type.PORTS),
                slot("protocol", Type.WORD, words=("tcp", "udp")),
                "to",
                slot("node", Type.NODE),
            ),
        ),
        many=True,
        example="publish 8080:80 to web",
    ),
)

OVERLAY = (
    one(
        "vni",
        Type.INTEGER,
        "The VXLAN network identifier, 24 bits (RFC 7348).",
        least=1,
        most=2**24 - 1,
        required=True,
    ),
    one("port", Type.INTEGER, "The UDP port of the tunnel.", least=1, most=65535, default="4789"),
    one("remote", Type.ADDRESS, "A tunnel end outside the lab.", many=True),
    one(
        "group",
        Type.ADDRESS,
        "A multicast group that carries broadcast frames, in place of head-end replication.",
    ),
    one(
        "learning",
        Type.SWITCH,
        "Whether tunnel ends learn where addresses are; off, they are told all.",
        default="on",
    ),
    one(
        "ttl",
        Type.INTEGER,
        "The hop limit of the tunnel's packets.",
        least=1,
        most=255,
        default="the machine's",
    ),
    Property(
        "tos",
        "The traffic class byte of the tunnel's packets, or `inherit`: that of the packet inside.",
        ((slot("tos", Type.INTEGER, Type.WORD, words=("inherit",), least=0, most=255),),),
        default="0",
    ),
    *VLAN,
    one("subnet", Type.PREFIX, "Numbers the endpoints of all bridges of the overlay.", many=True),
    mtu("The MTU in bytes inside the overlay.", "the underlay's less 50 (IPv4) or 70 (IPv6)"),
)
