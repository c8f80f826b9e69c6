"""What virtual machines are made of: their disks and seeds, huge pages, the domain, its taps, its power."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import ClassVar, Literal, TypeAlias

from vtopo.compile.resources.base import OPTIONAL, Resource
from vtopo.values import dataclass

Accel: TypeAlias = Literal["auto", "kvm", "tcg"]
Bus: TypeAlias = Literal["virtio", "scsi", "sata", "ide"]
Firmware: TypeAlias = Literal["bios", "uefi"]
CpuMode: TypeAlias = Literal["host-passthrough", "host-model", "named"]
Cache: TypeAlias = Literal["", "passthrough", "emulate", "disable"]
PowerState: TypeAlias = Literal["running", "paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk(Resource):
    """A qcow2 file in the lab's disk folder: over the image `base`, which is never written, or empty.

    `base` is an absolute path; `size` is in bytes, and None means the base's. What is `keep` outlives the lab.
    """

    kind: ClassVar[str] = "disk"
    outlives_boot: ClassVar[bool] = True
    in_place: ClassVar[frozenset[str]] = frozenset({"keep"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("file",),)
    file: str
    base: str | None = None
    size: int | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed(Resource):
    """An ISO 9660 image with the label `cidata` in the lab's disk folder, which cloud-init reads (NoCloud)."""

    kind: ClassVar[str] = "seed"
    outlives_boot: ClassVar[bool] = True
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("file",),)
    file: str
    user_data: str
    meta_data: str
    network_config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages(Resource):
    """`count` huge pages of `size` KiB taken from the machine's memory, on one NUMA node or on any.

    They stay reserved while the resource exists (Documentation/admin-guide/mm/hugetlbpage.rst).
    """

    kind: ClassVar[str] = "hugepages"
    count: int
    size: int
    numa_node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vcpus:
    """Virtual CPUs; sockets, cores and threads are all given or all 0: libvirt chooses then."""

    count: int = 1
    sockets: int = 0
    cores: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The CPU that the guest sees; `model` is libvirt's name of a `named` one.

    TCG has no host to pass through: the guest gets all that TCG can then.
    """

    mode: CpuMode = "host-passthrough"
    model: str = ""
    cache: Cache = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where a vCPU runs: `cpus` is a set of the machine's CPUs such as `0-1,4` (cpuset(7), List Format)."""

    vcpu: int
    cpus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """What the machine gives the guest's CPUs; `quota` is the CPU time in µs that all get in each 100 ms."""

    shares: int | None = None
    quota: int | None = None
    cpuset: str = ""
    pins: tuple[Pin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The guest's memory in KiB, of huge pages of `pages` KiB or of ordinary ones, from one NUMA node or any."""

    size: int
    balloon: bool = True
    pages: int | None = None
    numa_node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A kernel that is started without a boot loader; absolute paths, `initrd` may be empty."""

    kernel: str
    initrd: str = ""
    cmdline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk, or a `seed`, as the guest has it: `file` is its name in the lab's disk folder.

    A seed is read-only, and a CD on buses that have those. Not all guests look for a CD: Debian's cloud kernel has
    no driver for one on SATA.
    """

    name: str
    file: str
    bus: Bus = "virtio"
    cache: str = ""
    seed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface of the guest: a tap of the machine, or a PCI device that the guest gets for itself.

    `tap` is empty for the latter, which `passthrough` names by its address, or `vf_of` by the physical function
    whose first free virtual function it is. `vhost` None leaves the choice to libvirt.
    """

    name: str
    mac: str
    tap: str = ""
    mtu: int = 1500
    model: str = "virtio"
    queues: int = 1
    vhost: bool | None = None
    passthrough: str = ""
    vf_of: str = ""

    @property
    def is_pluggable(self) -> bool:
        """Whether a guest can be given it, or lose it, while it runs: on PCI Express, and nothing of the machine's."""
        return bool(self.tap) and self.model == "virtio"

    def __str__(self) -> str:
        """All that tells it from another, in a plan's words."""
        given = ((f, getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "name")
        return " ".join([self.name, *(f"{f.name} {value}" for f, value in given if value != f.default)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How commands get into a guest by ssh(1): `key` is the absolute path of a private key; no `user`, no ssh."""

    user: str = ""
    key: str = ""
    port: int = 22
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain(Resource):
    """A transient libvirt domain, started but held still before its first instruction; Power lets it go on.

    `name` is libvirt's, `node` the VM's full name in the lab; `uuid` follows from both and never changes.
    `console` is the file name of the serial console's log in the lab's disk folder.
    """

    kind: ClassVar[str] = "domain"
    in_place: ClassVar[frozenset[str]] = frozenset(
        {"tune.shares", "tune.quota", "tune.pins", "ssh.user", "ssh.key", "ssh.port", "ssh.addresses"}
    )
    anew: ClassVar[str] = "the guest is switched off and boots again"
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    node: str
    name: str
    uuid: str
    memory: Memory
    vcpus: Vcpus = Vcpus()
    cpu: Cpu = Cpu()
    tune: Tune = Tune()
    accel: Accel = "auto"
    machine: str = "q35"
    firmware: Firmware = "bios"
    boot: Boot | None = None
    drives: tuple[Drive, ...] = ()
    nics: tuple[Nic, ...] = ()
    hyperv: bool = False
    graphics: Literal["vnc", "none"] = "none"
    console: str = ""
    ssh: Login = field(default=Login(), metadata=OPTIONAL)

    def changes_in_place(self, name: str, was: Resource) -> bool:
        """As of every resource; NICs of the model virtio are plugged into a guest that runs, and out of it."""
        if name == "nics" and isinstance(was, Domain):
            there, wanted = {nic.name: nic for nic in was.nics}, {nic.name: nic for nic in self.nics}
            same = all(there[name] == wanted[name] for name in there.keys() & wanted.keys())
            moved = [*(there.keys() - wanted.keys()), *(wanted.keys() - there.keys())]
            return same and all((there | wanted)[name].is_pluggable for name in moved)
        return name in self.in_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity(Resource):
    """What all VMs of the lab see, against `limit` times what the machine has (in thousandths); memory in KiB."""

    kind: ClassVar[str] = "capacity"
    in_place: ClassVar[frozenset[str]] = frozenset({"vcpus", "memory", "limit"})
    vcpus: int
    memory: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(Resource):
    """A VM's tap in `netns`, joined with the interface `plug` there: each sends on what the other receives.

    The domain's start makes the tap `name` in the machine's own namespace, before the guest runs; creating this
    resource takes it from there.
    """

    kind: ClassVar[str] = "tap"
    in_place: ClassVar[frozenset[str]] = frozenset({"mtu"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("netns", "name"), ("netns", "plug"))
    netns: str
    name: str
    plug: str
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Resource):
    """Whether the guest of the domain `name` runs."""

    kind: ClassVar[str] = "power"
    in_place: ClassVar[frozenset[str]] = frozenset({"state"})
    name: str
    state: PowerState = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a guest is asked from outside whether it accepts connections: at `address`, by its tap in `netns`.

    Who asks has the address `source`, which nobody in the lab has, or the neighbour at the link's other end.
    """

    netns: str
    tap: str
    mac: str
    address: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReady(Resource):
    """That the guest of the domain `name` is ready within `milliseconds`.

    `tcp`: it accepts connections on `port` at one of the `doors`; `log`: its console, whose log is the file
    `console` in the lab's disk folder, has `text`; `agent`: its guest agent answers; `command`: what the agent
    runs there succeeds, tried again and again, with `env`.
    """

    kind: ClassVar[str] = "guest-ready"
    node: str
    name: str
    condition: Literal["tcp", "log", "agent", "command"]
    milliseconds: int
    console: str
    port: int | None = None
    doors: tuple[Door, ...] = ()
    text: str | None = None
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
