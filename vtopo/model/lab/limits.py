"""What a node may use of the machine at most."""

from __future__ import annotations

from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class DeviceIo:
    """How much of the machine's block device `device` a node may read and write each second; None: no limit."""

    device: str
    read_bytes: int | None = None
    write_bytes: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None

    def __str__(self) -> str:
        rates = (
            ("read", self.read_bytes, "B/s"),
            ("write", self.write_bytes, "B/s"),
            ("read", self.read_iops, "iops"),
            ("write", self.write_iops, "iops"),
        )
        return " ".join([self.device, *(f"{verb} {n}{unit}" for verb, n, unit in rates if n is not None)])


@dataclass(frozen=True, slots=True)
class DeviceAccess:
    """What a node may do with the machine's device `device`: some of r, w and m (make one), in this order."""

    device: str
    access: str

    def __str__(self) -> str:
        return f"{self.device} {self.access or 'none'}"


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
