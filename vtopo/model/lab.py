"""The lab: every node, link and address decided, nothing left to look up."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    """A host's route to a prefix by way of a next hop; `interface` is the one whose subnet holds the next hop."""

    destination: IPNetwork
    via: IPAddress
    interface: str
    range: Range


@dataclass(frozen=True, slots=True)
class DeviceLimit:
    """How much of the machine's block device `device` a node may read and write each second; None: no limit."""

    device: str
    read_bytes: int | None = None
    write_bytes: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """What a node may do with the machine's device `device`: some of r, w and m (make one), in this order."""

    device: str
    access: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node may use at most; None or empty: no limit.

    `cpus` in thousandths of a CPU, sizes in bytes, `cpu_weight` where 1024 is one share, `io_weight` where 100 is.
    `swap` is on top of `memory`. `devices` is what holds for devices that no rule names: allow or deny.
    """

    cpus: int | None = None
    cpu_weight: int | None = None
    cpuset: tuple[int, ...] = ()
    memory: int | None = None
    memory_reservation: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    oom: str | None = None
    pids: int | None = None
    io_weight: int | None = None
    io: tuple[DeviceLimit, ...] = ()
    devices: str | None = None
    device_rules: tuple[DeviceRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the lab. `name` is its full, dotted name; `parent` that of the host which it lives behind.

    `kind` is host, container or vm; `limits` is None where it says none.
    """

    name: str
    parent: str | None
    forward: bool
    routes: tuple[Route, ...]
    range: Range
    kind: str = "host"
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file of the machine, as the text names it: relative to the file that `range` is in, unless it is absolute."""

    path: str
    range: Range


@dataclass(frozen=True, slots=True)
class VmDisk:
    """A further disk of a VM; `size` in bytes, 0: the image's."""

    name: str
    size: int
    image: File | None
    bus: str
    cache: str


@dataclass(frozen=True, slots=True)
class VmPin:
    """The machine's CPUs that a vCPU may run on."""

    vcpu: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VmCpu:
    """The CPU that a guest sees; `mode` is host-passthrough, host-model, or named, which `model` is then."""

    mode: str
    model: str = ""
    cache: str = ""


@dataclass(frozen=True, slots=True)
class VmNic:
    """A VM's NIC: an end of a link, or a device that is passed through; `vhost` None leaves it to libvirt."""

    name: str
    mac: str
    model: str
    queues: int
    vhost: bool | None
    passthrough: str
    vf_of: str


@dataclass(frozen=True, slots=True)
class CloudInit:
    """What cloud-init is told as the text says it; empty where the lab says it."""

    user_data: str
    meta_data: str
    network_config: str


@dataclass(frozen=True, slots=True)
class Vm:
    """A node's virtual hardware. `memory` and `hugepages` (the size of one, 0: none) in bytes; `cpus` in thousandths.

    `topology` is sockets, cores of each, threads of each: 0 where nothing is said.
    """

    name: str
    image: File | None
    disks: tuple[VmDisk, ...]
    kernel: File | None
    initrd: File | None
    cmdline: str
    vcpus: int
    topology: tuple[int, ...]
    pins: tuple[VmPin, ...]
    cpu: VmCpu
    memory: int
    hugepages: int
    numa: int | None
    nics: tuple[VmNic, ...]
    accel: str
    machine_type: str
    firmware: str
    hyperv: bool
    graphics: str
    balloon: bool
    persist: bool
    cloud_init: CloudInit | None
    cpus: int
    cpu_weight: int
    cpuset: tuple[int, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Publish:
    """The machine's port `host` leads to the container's port `container`."""

    host: int
    container: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Mount:
    """What a container sees at `target`: a path of the machine or, if `volume`, one of the lab's volumes."""

    source: str
    target: str
    read_only: bool
    volume: bool


@dataclass(frozen=True, slots=True)
class Container:
    """What a container is besides a node like any other; None is Docker's default, or the image's own.

    `build` is the folder that the image is built from. `network` is none, bridge,
    host or container; `network_of` is then the node whose network it shares.
    """

    node: str
    image: str | None
    build: str | None
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    network: str
    network_of: str | None
    publish: tuple[Publish, ...]
    privileged: bool
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    user: str | None
    workdir: str | None
    restart: str
    pull: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """A learning switch in the fabric, or in its parent's namespace.

    `mtu` in bytes, `ageing` in µs; `kind` is bridge, or uplink.
    """

    name: str
    parent: str | None
    addresses: tuple[IPInterface, ...]
    mtu: int
    range: Range
    kind: str = "bridge"
    stp: bool = False
    ageing: int = 300_000_000
    snooping: bool = True


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link: on the node `node`, by the name that the lab knows it by; `mtu` in bytes.

    Of a bridge's port, `vlan` is the untagged VLAN (0: none), `trunk` the tagged ones.
    """

    node: str
    name: str
    addresses: tuple[IPInterface, ...]
    mac: str
    mtu: int
    range: Range
    up: bool = True
    vlan: int = 0
    trunk: tuple[int, ...] = ()
    isolated: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction of a link does to its packets.

    `rate` in bit/s (0: no limit), `burst` in bytes (0: chosen by the rate), times in µs, shares in millionths.
    """

    rate: int = 0
    burst: int = 0
    delay: int = 0
    jitter: int = 0
    loss: int = 0
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A line between two interfaces; `forth` is what happens from left to right, `back` the other way."""

    left: Interface
    right: Interface
    forth: Impairment
    back: Impairment
    range: Range


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that a node has by itself: the loopback `lo`, or one that it makes.

    `kind` is loopback, vlan, bond, vrf or dummy; `of` are the interfaces that it is made of, `number` its VLAN
    or its table.
    """

    node: str
    name: str
    kind: str
    of: tuple[str, ...]
    number: int
    addresses: tuple[IPInterface, ...]
    mac: str
    mtu: int
    up: bool
    range: Range

    @property
    def full_name(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True, slots=True)
class Vtep:
    """A tunnel end: on `host`, sending from `address` of its interface, extending `bridge`."""

    host: str
    interface: str
    address: IPAddress
    bridge: str
    range: Range


@dataclass(frozen=True, slots=True)
class Overlay:
    """A VXLAN segment (RFC 7348). `mtu` is the inner one in bytes; `remotes` are tunnel ends outside the lab."""

    name: str
    vni: int
    port: int
    mtu: int
    vteps: tuple[Vtep, ...]
    remotes: tuple[IPAddress, ...]
    range: Range
    group: IPAddress | None = None
    learning: bool = True
    ttl: int = 0
    tos: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """`subject` reaches `target` at `address`: by ICMP echo, or a connection to the port `tcp`."""

    subject: str
    target: str
    address: IPAddress
    tcp: int | None

    def __str__(self) -> str:
        return f"{self.subject} reaches {self.target}{f' on tcp {self.tcp}' if self.tcp is not None else ''}"


@dataclass(frozen=True, slots=True)
class Output:
    """A command in `subject` succeeds, and prints the text `prints`; a string is for its shell."""

    subject: str
    command: str | tuple[str, ...]
    prints: str | None

    def __str__(self) -> str:
        command = self.command if isinstance(self.command, str) else " ".join(self.command)
        return (
            f"{self.subject} runs {command!r}{f' prints {self.prints!r}' if self.prints is not None else ''}"
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured `quantity` from `subject` to `target`, compared with `bound`: rate in bit/s, delay in µs (one way
    there and back), loss in millionths."""

    quantity: str
    subject: str
    target: str
    address: IPAddress
    comparison: str
    bound: int

    def __str__(self) -> str:
        bound = shown_bound(self.quantity, self.bound)
        return f"{self.quantity} {self.subject} -> {self.target} {self.comparison} {bound}"


@dataclass(frozen=True, slots=True)
class Way:
    """Packets from `subject` to `target` pass through these nodes in this order."""

    subject: str
    target: str
    address: IPAddress
    through: tuple[str, ...]

    def __str__(self) -> str:
        return f"path {self.subject} -> {self.target} through {', '.join(self.through)}"


Claim: TypeAlias = Reach | Output | Measure | Way


def shown_bound(quantity: str, bound: int) -> str:
    """A measure's bound as a reader would write it."""
    if quantity == "rate":
        return f"{bound / 1e6:g}Mbit"
    return f"{bound / 1000:g}ms" if quantity == "delay" else f"{bound / 10000:g}%"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim that comes true before `seconds` have passed, or, `negated`, does not in all that time."""

    claim: Claim
    negated: bool
    seconds: float
    range: Range

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.claim}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a node or to a link in a scenario: `nodes` are the node, or the link's two."""

    nodes: tuple[str, ...]
    action: str
    range: Range

    def __str__(self) -> str:
        return f"{'node' if len(self.nodes) == 1 else 'link'} {' '.join(self.nodes)} {self.action}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults and expectations in turn."""

    name: str
    steps: tuple[Fault | Expectation, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file in a node: text, or bytes in base64 if `binary`; `mode` are its permission bits."""

    path: str
    content: str
    binary: bool
    mode: int
    owner: str
    range: Range


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the machine, seen in a node at `target`."""

    source: str
    target: str
    read_only: bool
    range: Range


@dataclass(frozen=True, slots=True)
class Setting:
    """A kernel setting of a node, with its dotted key."""

    key: str
    value: str
    range: Range


@dataclass(frozen=True, slots=True)
class Command:
    """What runs in a node: once, when it is made, or, if `kept`, for ever."""

    kept: bool
    words: tuple[str, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Ready:
    """When a node is ready: something listens on the TCP `port`, its log has `text`, or `command` succeeds.

    `within` is in µs.
    """

    port: int | None
    text: str | None
    command: tuple[str, ...]
    within: int
    range: Range


@dataclass(frozen=True, slots=True)
class Life:
    """What goes on in a node: `commands` in the order in which they start, `after` the nodes that it waits for."""

    node: str
    env: tuple[tuple[str, str], ...]
    files: tuple[NodeFile, ...]
    binds: tuple[Bind, ...]
    sysctls: tuple[Setting, ...]
    commands: tuple[Command, ...]
    ready: tuple[Ready, ...]
    after: tuple[str, ...]
    range: Range

    @property
    def is_empty(self) -> bool:
        """Whether nothing does."""
        return not any(
            (self.env, self.files, self.binds, self.sysctls, self.commands, self.ready, self.after)
        )


@dataclass(frozen=True, slots=True)
class Unrealized:
    """Something that the lab's text asks of `owner` and that no resource stands for: `what` is a property or kind."""

    owner: str
    what: str
    range: Range


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab, in the order of its declarations.

    `overcommit` is how many times the machine's CPUs and memory its vms may see, in thousandths; 0: no limit.
    """

    name: str
    hosts: tuple[Host, ...]
    bridges: tuple[Bridge, ...]
    links: tuple[Link, ...]
    overlays: tuple[Overlay, ...]
    expectations: tuple[Expectation, ...]
    devices: tuple[Device, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    unrealized: tuple[Unrealized, ...] = ()
    vms: tuple[Vm, ...] = ()
    overcommit: int = 0
    lives: tuple[Life, ...] = ()
    containers: tuple[Container, ...] = ()
