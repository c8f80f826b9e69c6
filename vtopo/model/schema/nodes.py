"""What hosts, containers and vms may say: the common part, and what each adds."""

from __future__ import annotations

from vtopo.model.kinds import NAMESPACES
from vtopo.model.schema.links import mtu
from vtopo.model.schema.types import Property, Slot, Type, one, optional, slot

_MOST_SIZE = 2**60
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
    one("memory", Type.SIZE, "Memory, at most.", least=4096, most=_MOST_SIZE, default="no limit"),
    one(
        "memory-reservation",
        Type.SIZE,
        "What the node is pressed down to where memory is short.",
        least=0,
        most=_MOST_SIZE,
    ),
    one(
        "swap",
        Type.SIZE,
        "Swap on top of `memory`, at most.",
        least=0,
        most=_MOST_SIZE,
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


_WITHIN = ("within", slot("within", Type.TIME, least=1, most=_MOST_TIME))
_READY = (
    *optional(("tcp", slot("port", Type.INTEGER, least=1, most=65535)), _WITHIN),
    *optional(("log", slot("log", Type.TEXT)), _WITHIN),
    *optional((slot("command", Type.COMMAND),), _WITHIN),
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
        _READY,
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

_SERVED = tuple(
    Property(
        name,
        doc,
        (("from", slot("source", Type.TEXT)), (slot("text", Type.TEXT),)),
        late=True,
        example=f'{name} from "{name}.yaml"',
    )
    for name, doc in (
        ("user-data", "The user data that cloud-init reads."),
        ("meta-data", "The meta data that cloud-init reads."),
        ("network-config", "The network configuration that cloud-init reads."),
    )
)

VM = (
    one("image", Type.TEXT, "A base disk, which is never written: the vm has a copy-on-write layer over it."),
    Property(
        "disk",
        "A further disk.",
        ((slot("name", Type.NAME),),),
        (
            one("size", Type.SIZE, "Its size, if it begins empty.", least=512, most=2**60),
            one("image", Type.TEXT, "A base image, which is never written."),
            one(
                "bus",
                Type.WORD,
                "What the guest sees it on.",
                words=("virtio", "scsi", "ide", "sata"),
                default="virtio",
            ),
            one(
                "cache",
                Type.WORD,
                "How the machine caches it.",
                words=("none", "writeback", "writethrough", "directsync", "unsafe"),
                default="none",
            ),
        ),
        many=True,
        keyed=True,
        example="disk data { size 10GiB }",
    ),
    one("kernel", Type.TEXT, "A kernel that is booted directly."),
    one("initrd", Type.TEXT, "The initial file system of `kernel`."),
    one("cmdline", Type.TEXT, "The command line of `kernel`.", late=True),
    Property(
        "vcpus",
        "The CPUs that the guest sees.",
        ((slot("vcpus", Type.INTEGER, least=1, most=4096),),),
        (
            Property(
                "pin",
                "The machine's CPUs that a vCPU runs on.",
                (
                    (
                        slot("vcpu", Type.INTEGER, least=0, most=4095),
                        "->",
                        slot("cpus", Type.INTEGERS, least=0, most=8191),
                    ),
                ),
                many=True,
                keyed=True,
                example="pin 0 -> 2..3",
            ),
            Property(
                "topology",
                "Sockets, cores of each, threads of each.",
                (
                    (
                        slot("sockets", Type.INTEGER, least=1, most=4096),
                        slot("cores", Type.INTEGER, least=1, most=4096),
                        slot("threads", Type.INTEGER, least=1, most=64),
                    ),
                ),
                example="topology 1 2 1",
            ),
        ),
        default="1",
        example="vcpus 2 { pin 0 -> 0; pin 1 -> 1 }",
    ),
    Property(
        "cpu",
        "The CPU that the guest sees: the machine's own, what libvirt makes of it, or a named model.",
        ((slot("model", Type.NAME, Type.TEXT),),),
        (
            one(
                "cache",
                Type.WORD,
                "Whether the guest sees the machine's caches.",
                words=("passthrough", "emulate", "disable"),
            ),
        ),
        default="host-passthrough; all that TCG can, where KVM does not run",
        example="cpu host-passthrough { cache passthrough }",
    ),
    Property(
        "nic",
        "How an interface of a link is made: a device that QEMU has, or one of the machine's.",
        ((slot("name", Type.NAME, Type.TEXT),),),
        (
            one("model", Type.NAME, "The device that the guest sees.", default="virtio"),
            one("queues", Type.INTEGER, "Queues of a virtio device.", least=1, most=256, default="1"),
            one(
                "vhost",
                Type.SWITCH,
                "Whether the kernel moves its packets, in place of QEMU.",
                default="on where the machine has it",
            ),
            one("passthrough", Type.TEXT, "The PCI address of a device that the guest gets."),
            Property(
                "vf-of",
                "The physical function whose free virtual function the guest gets (SR-IOV).",
                ((slot("interface", Type.NAME, Type.TEXT),),),
                example='vf-of "enp3s0f0"',
            ),
        ),
        many=True,
        keyed=True,
        example="nic eth0 { model e1000 }",
    ),
    one(
        "accel",
        Type.WORD,
        "What runs the guest: KVM, or QEMU's translator where there is none.",
        words=("auto", "kvm", "tcg"),
        default="auto",
    ),
    one("machine-type", Type.NAME, "The machine that QEMU is.", default="q35; pc with a disk on ide"),
    one("firmware", Type.WORD, "What boots the disk.", words=("bios", "uefi"), default="bios"),
    one("hyperv", Type.SWITCH, "Whether the guest sees Hyper-V's enlightenments.", default="off"),
    one("graphics", Type.WORD, "A screen.", words=("vnc", "none"), default="none"),
    one("balloon", Type.SWITCH, "Whether memory can be taken from the running guest.", default="on"),
    one("persist", Type.SWITCH, "Whether its disks' layers outlive `down`.", default="off"),
    Property(
        "cloud-init",
        "What the guest's cloud-init is told; addresses, files and commands go in by it.",
        ((),),
        _SERVED,
        late=True,
        example="cloud-init { }",
    ),
    Property(
        "ssh",
        "Who is logged in by ssh, and with which private key, for commands in the guest; else its agent runs them.",
        optional(
            (slot("user", Type.NAME, Type.TEXT), "key", slot("key", Type.TEXT)),
            ("port", slot("port", Type.INTEGER, least=1, most=65535)),
        ),
        example='ssh root key "id_ed25519" port 22',
    ),
    *(p for p in LIMITS if p.name != "memory"),
    Property(
        "memory",
        "The memory that the guest sees.",
        ((slot("memory", Type.SIZE, least=2**20, most=_MOST_SIZE),),),
        (
            one("hugepages", Type.SIZE, "Its memory is of huge pages of this size.", least=2**16, most=2**34),
            one("numa", Type.INTEGER, "The machine's NUMA node that has its memory.", least=0, most=1023),
        ),
        default="512MiB",
        example="memory 2GiB { hugepages 2MiB }",
    ),
    Property(
        "ready",
        "When the guest counts as up: its console has a text, a TCP port of it answers, its agent does, or a command "
        "that the agent runs there succeeds.",
        (*optional(("agent",), _WITHIN), *_READY),
        many=True,
        late=True,
        example='ready log "login:" within 90s',
    ),
    *(p for p in LIFE if p.name != "ready"),
)
