"""What all nodes that run something may say, and what hosts and containers add to that."""

from __future__ import annotations

from vtopo.model.kinds import NAMESPACES
from vtopo.model.schema.links import mtu
from vtopo.model.schema.types import Property, Slot, Type, one, optional, slot

MOST_SIZE = 2**60
_MOST_TIME = 10**15

_READ_WRITE = tuple(
    Property(
        word,
        f"The most that the node {word}s from the device, in bytes or in operations."
        if word == "read"
        else "The most that the node writes to the device, in bytes or in operations.",
        ((slot("limit", Type.THROUGHPUT, Type.OPERATIONS, least=1, most=2**60),),),
        many=True,
        example=f"{word} 10MB/s",
    )
    for word in ("read", "write")
)

LIMITS = (
    one("cpus", Type.NUMBER, "CPU time in CPUs, at most.", least=10, most=10**9, default="no limit"),
    one(
        "cpu-weight",
        Type.INTEGER,
        "The node's share of CPU time where there is not enough (cgroup v1: shares; 1024 is one share).",
        least=2,
        most=262144,
        default="1024",
    ),
    one("cpuset", Type.INTEGERS, "The CPUs that the node may run on.", least=0, most=8191, default="all"),
    one("memory", Type.SIZE, "Memory, at most.", least=4096, most=MOST_SIZE, default="no limit"),
    one(
        "memory-reservation",
        Type.SIZE,
        "What the node is pressed down to where memory is short.",
        least=0,
        most=MOST_SIZE,
    ),
    one(
        "swap",
        Type.SIZE,
        "Swap on top of `memory`, at most.",
        least=0,
        most=MOST_SIZE,
        default="none with `memory`, else no limit",
    ),
    one(
        "swappiness",
        Type.INTEGER,
        "How gladly the node is swapped out, from 0 to 100 (cgroup v1 only).",
        least=0,
        most=100,
    ),
    one(
        "oom",
        Type.WORD,
        "What happens past `memory`: a process is killed, or all wait.",
        words=("kill", "pause"),
        default="kill",
    ),
    one("pids", Type.INTEGER, "Processes and threads, at most.", least=1, most=4194304, default="no limit"),
    Property(
        "io",
        "Limits of block devices.",
        ((),),
        (
            one(
                "weight",
                Type.INTEGER,
                "The node's share of input and output where there is not enough; 100 is one share.",
                least=1,
                most=1000,
                default="100",
            ),
            Property(
                "device",
                "The limits of one device.",
                ((slot("path", Type.TEXT),),),
                _READ_WRITE,
                many=True,
                keyed=True,
                example='device "/dev/vda" { read 10MB/s }',
            ),
        ),
        example="io { weight 500 }",
    ),
    Property(
        "devices",
        "Which device files the node may open.",
        ((),),
        (
            Property(
                "allow",
                "May be opened: to read (r), write (w) and make (m).",
                optional(
                    (slot("device", Type.TEXT, Type.WORD, words=("all",)),), (slot("access", Type.NAME),)
                ),
                many=True,
                example='allow "/dev/kvm" rw',
            ),
            Property(
                "deny",
                "May not be opened.",
                optional(
                    (slot("device", Type.TEXT, Type.WORD, words=("all",)),), (slot("access", Type.NAME),)
                ),
                many=True,
                example="deny all",
            ),
        ),
        example='devices { deny all; allow "/dev/null" rw }',
    ),
)


def _keyed(name: str, doc: str, *types: Type, late: bool = True) -> Property:
    form = (slot("key", Type.NAME), slot("value", *types))
    return Property(name, doc, (form,), many=True, keyed=True, late=late, example=f'{name} KEY "value"')


WITHIN = ("within", slot("within", Type.TIME, least=1, most=_MOST_TIME))
READY = (
    *optional(("tcp", slot("port", Type.INTEGER, least=1, most=65535)), WITHIN),
    *optional(("log", slot("log", Type.TEXT)), WITHIN),
    *optional((slot("command", Type.COMMAND),), WITHIN),
)
_IN_VRF = ("vrf", slot("vrf", Type.NAME))

LIFE = (
    _keyed("env", "An environment variable of what runs in the node.", Type.TEXT, Type.VALUE),
    _keyed("label", "A label of the node.", Type.TEXT, Type.VALUE),
    _keyed(
        "data",
        "A fact about the node for templates: `node.data.KEY` there, `NODE.data.KEY` here.",
        Type.VALUE,
        late=False,
    ),
    Property(
        "file",
        "A file in the node: a text, a file beside the lab, or, from a `.j2`, what Jinja2 makes of it.",
        (
            (slot("path", Type.TEXT), slot("text", Type.TEXT)),
            (slot("path", Type.TEXT), "from", slot("source", Type.TEXT)),
        ),
        (
            one("mode", Type.TEXT, "Its permissions, in octal digits.", default='"0644"'),
            one("owner", Type.TEXT, "Its owner, `USER` or `USER:GROUP`, by name or number.", default='"0:0"'),
        ),
        many=True,
        keyed=True,
        late=True,
        example='file "/etc/motd" "hello"',
    ),
    Property(
        "bind",
        "A file or folder of the machine, seen in the node.",
        optional(
            (slot("source", Type.TEXT), "->", slot("target", Type.TEXT)),
            (slot("mode", Type.WORD, words=("ro", "rw")),),
        ),
        many=True,
        keyed=True,
        example='bind "/srv" -> "/srv" ro',
    ),
    _keyed("sysctl", "A kernel setting of the node.", Type.INTEGER, Type.TEXT),
    Property(
        "route",
        "A route by way of a next hop on one of the node's subnets.",
        (
            *optional(("default", "via", slot("via", Type.ADDRESS)), _IN_VRF),
            *optional((slot("to", Type.PREFIX), "via", slot("via", Type.ADDRESS)), _IN_VRF),
        ),
        many=True,
        keyed=True,
        late=True,
        example="route default via 10.0.0.1",
    ),
    one("masquerade", Type.NAME, "Packets that leave by this interface take its address.", many=True),
    one(
        "run",
        Type.COMMAND,
        "A daemon: it is kept running, its output is kept.",
        many=True,
        append=True,
        late=True,
    ),
    one(
        "exec",
        Type.COMMAND,
        "A command that runs once when the node is made, and must succeed.",
        many=True,
        append=True,
        late=True,
    ),
    Property(
        "ready",
        "When the node counts as up: a command succeeds, a TCP port answers, its log has a text.",
        READY,
        many=True,
        late=True,
        example="ready tcp 80 within 10s",
    ),
    one("after", Type.NODE, "Nodes that must be up before this one starts.", many=True),
    Property(
        "interface",
        "An interface of the node itself: more addresses of one that it has, or one that it makes.",
        ((slot("name", Type.NAME, Type.TEXT),),),
        (
            one("address", Type.INTERFACE_ADDRESS, "An address of the interface.", many=True),
            one("pool", Type.NAME, "Gives it the next address of a pool.", many=True),
            Property(
                "vlan",
                "Makes it a VLAN of another interface (IEEE 802.1Q).",
                ((slot("vlan", Type.INTEGER, least=1, most=4094), "on", slot("on", Type.NAME, Type.TEXT)),),
                example="vlan 10 on eth0",
            ),
            one(
                "bond",
                Type.NAMES,
                "Makes it a bond of other interfaces.",
                block=(
                    one(
                        "mode",
                        Type.WORD,
                        "How it uses them (Documentation/networking/bonding.rst); `lacp` is IEEE 802.3ad.",
                        words=(
                            *("active-backup", "balance-rr", "balance-xor", "broadcast", "lacp"),
                            *("balance-tlb", "balance-alb"),
                        ),
                        default="active-backup",
                    ),
                    one(
                        "miimon",
                        Type.TIME,
                        "How often it looks whether they are connected.",
                        least=1000,
                        most=60_000_000,
                        default="100ms",
                    ),
                    one("primary", Type.NAME, "The one that it uses as long as it can.", default="none"),
                ),
            ),
            Property(
                "vrf",
                "Makes it a routing domain with this table, and puts interfaces into it.",
                optional((slot("vrf", Type.INTEGER, least=1, most=2**32 - 1),), (slot("of", Type.NAMES),)),
                example="vrf 10 [eth0]",
            ),
            Property("dummy", "Makes it a dummy, which leads nowhere.", ((),), example="dummy"),
            mtu("The MTU in bytes of the interface.", "that of what it is made on, else the lab's"),
            one(
                "mac", Type.MAC, "The hardware address of the interface.", default="from a hash of the names"
            ),
            one("state", Type.WORD, "Whether the interface is up.", words=("up", "down"), default="up"),
        ),
        many=True,
        keyed=True,
        example="interface lo { address 10.255.0.1/32 }",
    ),
)

_ID: Slot = slot("inside", Type.INTEGER, least=0, most=2**32 - 2)

HOST = (
    one("forward", Type.SWITCH, "Whether the host forwards packets between its interfaces.", default="off"),
    one(
        "namespaces",
        Type.WORDS,
        "The namespaces that the host has of its own (namespaces(7)).",
        words=NAMESPACES,
        default="[pid, net, mnt, uts, ipc, cgroup]",
    ),
    Property(
        "map",
        "User or group ids inside, and what they are outside (user_namespaces(7)).",
        tuple(
            (
                slot("ids", Type.WORD, words=("uid", "gid")),
                _ID,
                "->",
                slot("outside", Type.INTEGER, least=0, most=2**32 - 2),
                "count",
                slot("count", Type.INTEGER, least=1, most=2**32 - 2),
            )
            for _ in (0,)
        ),
        many=True,
        example="map uid 0 -> 1000 count 1",
    ),
    one(
        "rootfs",
        Type.TEXT,
        "A folder that is the host's root, copy-on-write.",
        default="the machine's own root",
    ),
    *LIMITS,
    *LIFE,
)

CONTAINER = (
    one("image", Type.TEXT, "The image, as Docker names it."),
    one("build", Type.TEXT, "A folder with a Dockerfile that the image is built from."),
    one("command", Type.COMMAND, "What runs, in place of the image's command.", late=True),
    one(
        "entrypoint",
        Type.COMMAND,
        "What the command is given to, in place of the image's entrypoint.",
        late=True,
    ),
    Property(
        "network",
        "Docker's own network of the container, beside the lab's links.",
        (
            (slot("mode", Type.WORD, words=("bridge", "host", "none")),),
            ("container", slot("container", Type.NODE)),
        ),
        default="none",
        example="network container web",
    ),
    Property(
        "publish",
        "A port of the machine that leads to one of the container; it takes `network bridge`.",
        optional((slot("ports", Type.PORTS),), (slot("protocol", Type.WORD, words=("tcp", "udp")),)),
        many=True,
        keyed=True,
        example="publish 8080:80 udp",
    ),
    Property(
        "volume",
        "A volume of Docker's, seen in the container.",
        optional(
            (slot("volume", Type.NAME, Type.TEXT), "->", slot("target", Type.TEXT)),
            (slot("mode", Type.WORD, words=("ro", "rw")),),
        ),
        many=True,
        keyed=True,
        example='volume data -> "/var/lib/data"',
    ),
    one("privileged", Type.SWITCH, "Whether it may do all that root may.", default="off"),
    one("cap-add", Type.NAMES, "Capabilities that it gets on top (capabilities(7)).", default="Docker's"),
    one("cap-drop", Type.NAMES, "Capabilities that it does not get."),
    Property(
        "user",
        "Who its processes run as.",
        ((slot("user", Type.TEXT, Type.INTEGER),),),
        default="the image's",
        example='user "nobody"',
    ),
    one("workdir", Type.TEXT, "The folder that its command starts in.", default="the image's"),
    one(
        "restart",
        Type.WORD,
        "When Docker starts it again.",
        words=("no", "always", "on-failure", "unless-stopped"),
        default="no",
    ),
    one(
        "pull",
        Type.WORD,
        "When its image is fetched.",
        words=("always", "missing", "never"),
        default="missing",
    ),
    *LIMITS,
    *LIFE,
)
