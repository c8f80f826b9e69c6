"""What a node may use of the machine at most."""

from __future__ import annotations

from vtopo.model.device_limits import DeviceAccess, DeviceIo
from vtopo.values import dataclass


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
    io: tuple[DeviceIo, ...] = ()
    devices: str | None = None
    device_rules: tuple[DeviceAccess, ...] = ()
