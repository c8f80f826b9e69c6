"""What each limit is in the files of a control group, on cgroup v1 and on v2: what to write, and what was read.

Sources: Documentation/admin-guide/cgroup-v1/*.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

from vtopo.backends.cgroup_devices import block_number
from vtopo.compile.resources import Cgroup, DeviceIo
from vtopo.compile.resources.cgroups import CPU_PERIOD
from vtopo.values import dataclass

Version = Callable[[str], int]
"""Which version a controller (by its v2 name) has here."""
Read = Callable[[str, str], str | None]
"""The text of a controller's file of the group; None if there is none."""

PAGE = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT = (1 << 63) - (1 << 16)  # v1 shows no limit as the largest number of whole pages
CONTROLLERS = {
    "cpu_quota": "cpu",
    "cpu_weight": "cpu",
    "cpuset": "cpuset",
    "memory": "memory",
    "memory_reservation": "memory",
    "swap": "memory",
    "swappiness": "memory",
    "oom": "memory",
    "pids": "pids",
    "io_weight": "io",
    "io": "io",
    "devices": "devices",
    "device_access": "devices",
}
"""The controller of each limit, by its v2 name."""


@dataclass(frozen=True, slots=True)
class Write:
    """`text` for a file of the group of `controller`. An `optional` file may be missing: its default will do."""

    controller: str
    file: str
    text: str
    optional: bool = False


def limits(spec: Cgroup) -> frozenset[str]:
    """The names of the fields that limit anything."""
    return frozenset(name for name in CONTROLLERS if getattr(spec, name) not in (None, ()))


def controllers(spec: Cgroup) -> frozenset[str]:
    """The controllers that the limits need, by their v2 names."""
    return frozenset(CONTROLLERS[name] for name in limits(spec))


def writes(version: Version, new: Cgroup, old: Cgroup | None) -> Iterator[Write]:
    """What makes a group that is as `old` (None: fresh) as `new`; devices are not told by files alone."""
    was = old if old is not None else Cgroup(id="", node="")
    for name in CONTROLLERS:
        if getattr(was, name) == getattr(new, name) or name in ("devices", "device_access"):
            continue
        if name in _V1_TOGETHER and version("memory") == 1:
            continue
        maker = (_V1 if version(CONTROLLERS[name]) == 1 else _V2)[name]
        yield from maker(was, new)
    if version("memory") == 1:
        yield from _v1_memory(was, new)


# Version 1

_V1_TOGETHER = ("memory", "swap", "oom")  # what _v1_memory writes, in an order that it minds


def _v1_memory(was: Cgroup, new: Cgroup) -> Iterator[Write]:
    """What happens past memory, and how much there is.

    Who waits for memory is killed as soon as the kernel may kill, so it may only once there is more, and may not
    before there is less.
    """
    pause = new.oom == "pause"
    may_kill = [Write("memory", "memory.oom_control", "1" if pause else "0")] if was.oom != new.oom else []
    if pause:
        yield from may_kill
    if (was.memory, was.swap) != (new.memory, new.swap):
        yield from _v1_sizes(was, new)
    if not pause:
        yield from may_kill


def _v1_sizes(was: Cgroup, new: Cgroup) -> Iterator[Write]:
    """Memory, and memory with swap: the kernel keeps the second at least as large as the first at every moment."""
    no_swap = not new.swap
    if was.swap is not None:
        yield Write("memory", "memory.memsw.limit_in_bytes", "-1", no_swap)
    if was.memory != new.memory:
        yield Write("memory", "memory.limit_in_bytes", _or(new.memory, "-1"))
    if new.swap is not None and new.memory is not None:
        yield Write("memory", "memory.memsw.limit_in_bytes", str(new.memory + new.swap), no_swap)


def _nothing(_was: Cgroup, _new: Cgroup) -> Iterator[Write]:
    return iter(())


def _v1_io(was: Cgroup, new: Cgroup) -> Iterator[Write]:
    for number, limit in _io(was, new):
        for file, rate in zip(_THROTTLE, _rates(limit), strict=True):
            yield Write("io", file, f"{number} {rate or 0}")


_THROTTLE = tuple(
    f"blkio.throttle.{what}_device" for what in ("read_bps", "write_bps", "read_iops", "write_iops")
)


def _rates(limit: DeviceIo) -> tuple[int | None, int | None, int | None, int | None]:
    return limit.read_bytes, limit.write_bytes, limit.read_iops, limit.write_iops


def _io(was: Cgroup, new: Cgroup) -> Iterator[tuple[str, DeviceIo]]:
    """What is to be told of each device: those that are no longer limited first; one that is gone is left out."""
    kept = {limit.device for limit in new.io}
    for limit in was.io:
        if limit.device not in kept and (number := block_number(limit.device)):
            yield number, DeviceIo(device=limit.device)
    for limit in new.io:
        if number := block_number(limit.device):
            yield number, limit


# Version 2


def weight_v2(weight: int) -> int:
    """A weight as cpu.weight has it: 100 where cpu.shares has 1024, and the same ratios."""
    return min(max(round(weight * 100 / 1024), 1), 10_000)


def _v2_io(was: Cgroup, new: Cgroup) -> Iterator[Write]:
    for number, limit in _io(was, new):
        rates = zip(_RATES, _rates(limit), strict=True)
        yield Write("io", "io.max", " ".join([number, *(f"{key}={_or(n, 'max')}" for key, n in rates)]))


_RATES = ("rbps", "wbps", "riops", "wiops")
_Maker = Callable[[Cgroup, Cgroup], Iterator[Write]]


def _or(value: int | str | None, otherwise: str) -> str:
    return otherwise if value is None else str(value)


def _plain(controller: str, file: str, field: str, otherwise: str) -> _Maker:
    def make(_was: Cgroup, new: Cgroup) -> Iterator[Write]:
        value = getattr(new, field)
        yield Write(controller, file, _or(value, otherwise))

    return make


def _cpu_max(_was: Cgroup, new: Cgroup) -> Iterator[Write]:
    yield Write("cpu", "cpu.max", f"{_or(new.cpu_quota, 'max')} {CPU_PERIOD}")


def _cpu_weight(_was: Cgroup, new: Cgroup) -> Iterator[Write]:
    yield Write("cpu", "cpu.weight", str(weight_v2(new.cpu_weight or 1024)))


def _swap_max(_was: Cgroup, new: Cgroup) -> Iterator[Write]:
    yield Write("memory", "memory.swap.max", _or(new.swap, "max"), optional=not new.swap)


def _v2_io_weight(_was: Cgroup, new: Cgroup) -> Iterator[Write]:
    """For io.cost and for the BFQ scheduler: which of them serves a device is the machine's affair."""
    for file in IO_WEIGHTS:
        yield Write("io", file, str(new.io_weight or 100), optional=True)


IO_WEIGHTS = ("io.weight", "io.bfq.weight")


_V1: dict[str, _Maker] = {
    "cpu_quota": _plain("cpu", "cpu.cfs_quota_us", "cpu_quota", "-1"),
    "cpu_weight": _plain("cpu", "cpu.shares", "cpu_weight", "1024"),
    "cpuset": _plain("cpuset", "cpuset.cpus", "cpuset", ""),
    "memory_reservation": _plain("memory", "memory.soft_limit_in_bytes", "memory_reservation", "-1"),
    "swappiness": _plain("memory", "memory.swappiness", "swappiness", "60"),
    "pids": _plain("pids", "pids.max", "pids", "max"),
    "io_weight": _plain("io", "blkio.bfq.weight", "io_weight", "100"),
    "io": _v1_io,
}
_V2: dict[str, _Maker] = {
    "cpu_quota": _cpu_max,
    "cpu_weight": _cpu_weight,
    "cpuset": _plain("cpuset", "cpuset.cpus", "cpuset", "\n"),
    "memory": _plain("memory", "memory.max", "memory", "max"),
    "memory_reservation": _plain("memory", "memory.low", "memory_reservation", "0"),
    "swap": _swap_max,
    "swappiness": _nothing,
    "oom": _nothing,
    "pids": _plain("pids", "pids.max", "pids", "max"),
    "io_weight": _v2_io_weight,
    "io": _v2_io,
}


# What was read


def found(version: Version, recorded: Cgroup, get: Read) -> Cgroup:
    """The limits of a group that exists, as the kernel tells them, of those that are recorded."""
    values: dict[str, object] = {}
    for name in limits(recorded) - {"devices", "device_access"}:
        readers = _READ_V1 if version(CONTROLLERS[name]) == 1 else _READ_V2
        if name in readers:
            values[name] = readers[name](recorded, get)
    return dataclasses.replace(recorded, **values) if values else recorded  # type: ignore[arg-type]


_Reader = Callable[[Cgroup, Read], object]


def _number(controller: str, file: str, field: str) -> _Reader:
    """A number; None for a file's word or number for no limit; the recorded one if it differs only by rounding."""

    def read(recorded: Cgroup, get: Read) -> object:
        return _rounded(_int(get(controller, file)), getattr(recorded, field))

    return read


def _int(text: str | None) -> int | None:
    if text is None or not text.lstrip("-").isdigit():
        return None
    number = int(text)
    return number if 0 <= number < _NO_LIMIT else None


def _rounded(value: int | None, recorded: int | None) -> int | None:
    """The kernel keeps memory in whole pages, rounded down."""
    return recorded if recorded is not None and value == recorded // PAGE * PAGE else value


def _read_text(controller: str, file: str) -> _Reader:
    return lambda _recorded, get: get(controller, file)


def _read_cpu_max(_recorded: Cgroup, get: Read) -> object:
    quota, _, period = (get("cpu", "cpu.max") or "").partition(" ")
    number = _int(quota)
    return None if number is None else number * CPU_PERIOD // int(period)


def _read_v1_quota(_recorded: Cgroup, get: Read) -> object:
    quota, period = _int(get("cpu", "cpu.cfs_quota_us")), _int(get("cpu", "cpu.cfs_period_us"))
    return None if quota is None or not period else quota * CPU_PERIOD // period


def _read_cpu_weight(recorded: Cgroup, get: Read) -> object:
    value = _int(get("cpu", "cpu.weight"))
    same = recorded.cpu_weight is not None and value == weight_v2(recorded.cpu_weight)
    return recorded.cpu_weight if same or value is None else value * 1024 // 100


def _read_v1_swap(recorded: Cgroup, get: Read) -> object:
    text = get("memory", "memory.memsw.limit_in_bytes")
    if text is None:
        return recorded.swap
    both, memory = _int(text), _int(get("memory", "memory.limit_in_bytes"))
    if both is None or memory is None:
        return None
    wanted = (recorded.memory or 0) + (recorded.swap or 0)
    return recorded.swap if both == wanted // PAGE * PAGE else both - memory


def _read_v2_swap(recorded: Cgroup, get: Read) -> object:
    text = get("memory", "memory.swap.max")
    return recorded.swap if text is None else _rounded(_int(text), recorded.swap)


def _read_oom(_recorded: Cgroup, get: Read) -> object:
    words = (get("memory", "memory.oom_control") or "").split()
    return "pause" if words[:2] == ["oom_kill_disable", "1"] else "kill"


def _read_io_weight(_recorded: Cgroup, get: Read) -> object:
    text = get("io", "io.weight") or get("io", "io.bfq.weight") or ""
    words = text.split()  # `default 100`, and a line for each device that differs
    return _int(words[1]) if words[:1] == ["default"] else None


def _read_v1_io(recorded: Cgroup, get: Read) -> object:
    tables = [_table(get("io", file)) for file in _THROTTLE]
    numbers = ((limit.device, block_number(limit.device)) for limit in recorded.io)
    return tuple(_device_io(device, [t.get(number) for t in tables]) for device, number in numbers if number)


def _table(text: str | None) -> dict[str, int]:
    """Lines of `8:0 1048576`."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _read_v2_io(recorded: Cgroup, get: Read) -> object:
    lines = (line.split() for line in (get("io", "io.max") or "").splitlines())
    table = {words[0]: dict(word.split("=", 1) for word in words[1:]) for words in lines if words}
    out = []
    for limit in recorded.io:
        if number := block_number(limit.device):
            rates = [_int(table.get(number, {}).get(key)) for key in _RATES]
            out.append(_device_io(limit.device, rates))
    return tuple(out)


def _device_io(device: str, rates: Sequence[int | None]) -> DeviceIo:
    return DeviceIo(
        device=device, read_bytes=rates[0], write_bytes=rates[1], read_iops=rates[2], write_iops=rates[3]
    )


_READ_V1: dict[str, _Reader] = {
    "cpu_quota": _read_v1_quota,
    "cpu_weight": _number("cpu", "cpu.shares", "cpu_weight"),
    "cpuset": _read_text("cpuset", "cpuset.cpus"),
    "memory": _number("memory", "memory.limit_in_bytes", "memory"),
    "memory_reservation": _number("memory", "memory.soft_limit_in_bytes", "memory_reservation"),
    "swap": _read_v1_swap,
    "swappiness": _number("memory", "memory.swappiness", "swappiness"),
    "oom": _read_oom,
    "pids": _number("pids", "pids.max", "pids"),
    "io_weight": _number("io", "blkio.bfq.weight", "io_weight"),
    "io": _read_v1_io,
}
_READ_V2: dict[str, _Reader] = {
    "cpu_quota": _read_cpu_max,
    "cpu_weight": _read_cpu_weight,
    "cpuset": _read_text("cpuset", "cpuset.cpus"),
    "memory": _number("memory", "memory.max", "memory"),
    "memory_reservation": _number("memory", "memory.low", "memory_reservation"),
    "swap": _read_v2_swap,
    "pids": _number("pids", "pids.max", "pids"),
    "io_weight": _read_io_weight,
    "io": _read_v2_io,
}
