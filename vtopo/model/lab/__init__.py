"""The lab: every node, link and address decided, nothing left to look up; a module for each part of it."""

from __future__ import annotations

from vtopo.lang.source import Range
from vtopo.model.device_limits import DeviceAccess, DeviceIo
from vtopo.model.id_map import IdMap
from vtopo.model.lab.claims import (
    Claim,
    Expectation,
    Fault,
    Measure,
    Output,
    Reach,
    Scenario,
    Way,
    shown_bound,
)
from vtopo.model.lab.containers import Container, Mount, Publish
from vtopo.model.lab.isolation import Isolation
from vtopo.model.lab.life import Bind, Command, Life, NodeFile, Ready, Setting
from vtopo.model.lab.limits import Limits
from vtopo.model.lab.network import (
    Bridge,
    Device,
    Impairment,
    Interface,
    IPAddress,
    IPNetwork,
    Link,
    Overlay,
    Port,
    Route,
    StaticMac,
    Vtep,
)
from vtopo.model.lab.uplinks import PublishedPort, Uplink
from vtopo.model.lab.vms import CloudInit, File, Ssh, Vm, VmCpu, VmDisk, VmNic, VmPin
from vtopo.values import dataclass

__all__ = [
    "Bind",
    "Bridge",
    "Claim",
    "CloudInit",
    "Command",
    "Container",
    "Device",
    "DeviceAccess",
    "DeviceIo",
    "Expectation",
    "Fault",
    "File",
    "Host",
    "IPAddress",
    "IPNetwork",
    "IdMap",
    "Impairment",
    "Interface",
    "Isolation",
    "Lab",
    "Life",
    "Limits",
    "Link",
    "Measure",
    "Mount",
    "NodeFile",
    "Output",
    "Overlay",
    "Port",
    "Publish",
    "PublishedPort",
    "Reach",
    "Ready",
    "Route",
    "Scenario",
    "Setting",
    "Ssh",
    "StaticMac",
    "Unrealized",
    "Uplink",
    "Vm",
    "VmCpu",
    "VmDisk",
    "VmNic",
    "VmPin",
    "Vtep",
    "Way",
    "shown_bound",
]


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the lab. `name` is its full, dotted name; `parent` that of the host which it lives behind.

    `kind` is host, container or vm; `limits` and `isolation` are None where it says none. What leaves by an interface
    of `masquerade` takes that one's address.
    """

    name: str
    parent: str | None
    forward: bool
    routes: tuple[Route, ...]
    range: Range
    kind: str = "host"
    limits: Limits | None = None
    isolation: Isolation | None = None
    masquerade: tuple[str, ...] = ()


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
    uplinks: tuple[Uplink, ...] = ()
