"""What hosts may use at most: control groups with their limits, and which host is in which."""

from __future__ import annotations

from typing import ClassVar

from vtopo.compile.resources.base import Resource
from vtopo.model.device_limits import DeviceAccess, DeviceIo
from vtopo.values import dataclass

CPU_PERIOD = 100_000
"""Microseconds over which a quota of CPU time is counted: the kernel's default (sched-bwc.rst)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup(Resource):
    """The control group of the host `node` (cgroups(7)); what is None or empty is not limited.

    `cpu_quota` is CPU time in µs per CPU_PERIOD. `cpu_weight` is relative, 1024 by default, as in cgroup v1's
    cpu.shares and Docker's. `cpuset` is a list of CPUs as the kernel writes it, `0-1,3`. `memory`,
    `memory_reservation` and `swap` (on top of memory) are bytes, `swappiness` 0 to 200. `oom` is what becomes
    of a process for which there is no memory: `kill` or `pause`. `pids` counts processes and threads.
    `io_weight` is 1 to 1000, 100 by default. `devices` is what holds for those that `device_access` does not
    name: `allow` or `deny`; the devices that every host has in /dev are always allowed.
    """

    kind: ClassVar[str] = "cgroup"
    in_place: ClassVar[frozenset[str]] = frozenset(
        {
            "cpu_quota",
            "cpu_weight",
            "cpuset",
            "memory",
            "memory_reservation",
            "swap",
            "swappiness",
            "oom",
            "pids",
            "io_weight",
            "io",
            "devices",
            "device_access",
        }
    )
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("node",),)
    node: str
    cpu_quota: int | None = None
    cpu_weight: int | None = None
    cpuset: str | None = None
    memory: int | None = None
    memory_reservation: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    oom: str | None = None
    pids: int | None = None
    io_weight: int | None = None
    io: tuple[DeviceIo, ...] = ()
    devices: str | None = None
    device_access: tuple[DeviceAccess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Resource):
    """The processes of the host `node` are in its control group; `host` is the id of the host."""

    kind: ClassVar[str] = "member"
    node: str
    host: str
