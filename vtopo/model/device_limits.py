"""What a node may do with single devices of the machine."""

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
