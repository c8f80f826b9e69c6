"""What vms may say: what all such nodes may, and what makes a machine of one."""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.model.schema.nodes import LIFE, LIMITS, MOST_SIZE, READY, WITHIN
from vtopo.model.schema.types import Property, Type, one, optional, slot

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

_MEMORY = "a guest has the memory that `memory` says, and its own kernel decides what becomes of it"
NOT_OF_A_VM: Mapping[str, str] = {
    "bind": "a guest has files of its own: `file` writes one, `disk` gives it another disk",
    "interface": "a guest makes its own interfaces, as its image or `cloud-init { network-config from … }` says; "
    "the addresses of its NICs stand at its links: `link a -- v 10.0.0.2/24 10.0.0.3/24`",
    "label": "nothing shows labels of a vm; `data` is for templates",
    "masquerade": 'a guest has a firewall of its own: `exec "nft …"` or its image sets it up; `uplink` has NAT',
    **dict.fromkeys(("memory-reservation", "swap", "swappiness", "oom"), _MEMORY),
    "pids": "a guest has processes of its own: `sysctl` can set `kernel.pid_max` there",
    "io": "the disks of a vm are not limited; `cache` is how the machine caches one",
    "devices": "a guest has devices of its own: `nic`, `disk` and the like say which",
}
"""What other nodes may say and no vm can have, with what to do instead."""

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
    *(p for p in LIMITS if p.name in ("cpus", "cpu-weight", "cpuset")),
    Property(
        "memory",
        "The memory that the guest sees.",
        ((slot("memory", Type.SIZE, least=2**20, most=MOST_SIZE),),),
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
        (*optional(("agent",), WITHIN), *READY),
        many=True,
        late=True,
        example='ready log "login:" within 90s',
    ),
    *(p for p in LIFE if p.name != "ready" and p.name not in NOT_OF_A_VM),
)
