"""What limits this machine cannot keep: said with the reason, before anything is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from vtopo.backends import bpf, cgroup_devices
from vtopo.backends.cgroup_files import CONTROLLERS, IO_WEIGHTS, controllers, limits
from vtopo.backends.cgroup_paths import Hierarchy
from vtopo.backends.cgroup_tree import Tree, is_systemds
from vtopo.compile.resources import Cgroup
from vtopo.compile.resources.cgroups import CPU_PERIOD


class Checks:
    """What the machine has, looked at once for all hosts of a lab."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._controllers: dict[str, str] = {}
        self._known: dict[tuple[object, ...], tuple[str, ...]] = {}

    def reasons(self, spec: Cgroup) -> tuple[str, ...]:
        """Why this machine cannot do what `spec` says, a sentence for each limit."""
        key = tuple(getattr(spec, name) for name in CONTROLLERS)  # many hosts have the same limits
        if key not in self._known:
            self._known[key] = tuple(self._reasons(spec))
        return self._known[key]

    def _reasons(self, spec: Cgroup) -> Iterator[str]:
        lacking = set()
        for controller in sorted(controllers(spec)):
            if reason := self._lacks(controller):
                lacking.add(controller)
                names = sorted(word(n) for n in limits(spec) if CONTROLLERS[n] == controller)
                yield f"{', '.join(names)}: {reason}"
        for name in sorted(limits(spec)):
            if CONTROLLERS[name] not in lacking and name in _CHECKS:
                yield from _CHECKS[name](self, spec)

    def _lacks(self, controller: str) -> str:
        if controller not in self._controllers:
            self._controllers[controller] = _lacks(self.tree, controller)
        return self._controllers[controller]


def word(field: str) -> str:
    """A field as the lab file calls it."""
    words = {"cpu_quota": "cpus", "io_weight": "io weight", "device_access": "devices"}
    return words.get(field, field.replace("_", "-"))


def _lacks(tree: Tree, controller: str) -> str:
    """Why groups cannot have a controller; empty if they can."""
    h = tree.of(controller)
    if h is None:
        return f"this machine has no cgroup hierarchy with the {controller} controller{_booted_without(controller)}"
    if h.read_only:
        return f"{h.path} is mounted read-only, as in a container without privileges"
    if not os.access(h.path, os.W_OK) and not (h.version == 2 and is_systemds()):
        return f"{h.path} is not yours to write to"
    if h.version == 1:
        return ""
    if controller == "devices":
        return _lacks_bpf()
    if not is_systemds() and controller not in h.read("cgroup.subtree_control").split():
        return (
            f"{h.path} does not hand the {controller} controller on to the groups in it; "
            f"`echo +{controller} > {h.path}/cgroup.subtree_control` makes it"
        )
    return ""


def _booted_without(controller: str) -> str:
    name = {"io": "blkio"}.get(controller, controller)
    for line in _text("/proc/cgroups").splitlines():
        words = line.split()
        if words[:1] == [name]:
            return "" if words[-1] == "1" else f"; it was booted with cgroup_disable={name}"
    return "; its kernel is built without it"


def _lacks_bpf() -> str:
    try:
        code = cgroup_devices.program(Cgroup(id="", node=""))
        os.close(bpf.load(code, cgroup_devices.name(code)))
    except OSError as e:
        return f"the kernel takes no eBPF program for devices: {e.strerror}"
    return ""


# Each limit


def _cpus(_: Checks, spec: Cgroup) -> Iterator[str]:
    there = os.sysconf("SC_NPROCESSORS_ONLN")
    if spec.cpu_quota is not None and spec.cpu_quota > there * CPU_PERIOD:
        yield f"cpus {spec.cpu_quota / CPU_PERIOD:g} is more than the machine has: {there}"


def _weight(checks: Checks, spec: Cgroup) -> Iterator[str]:
    if checks.tree.version("cpu") == 2 and not 6 <= (spec.cpu_weight or 6) <= 102_400:
        yield f"cpu-weight {spec.cpu_weight}: cgroup v2 keeps weights from 6 to 102400 only"


def _cpuset(checks: Checks, spec: Cgroup) -> Iterator[str]:
    h = checks.tree.of("cpuset")
    file = "cpuset.effective_cpus" if h and h.version == 1 else "cpuset.cpus.effective"
    there = h.read(file) if h else ""
    missing = sorted(set(_cpus_of(spec.cpuset or "")) - set(_cpus_of(there)))
    if missing:
        from vtopo.compile.cgroups import cpu_list

        yield f"cpuset {spec.cpuset}: the machine has no CPU {cpu_list(missing)}, only {there}"


def _cpus_of(text: str) -> Iterator[int]:
    """The CPUs of a list as the kernel writes it, such as `0-1,3`."""
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _memory(field: str) -> Callable[[Checks, Cgroup], Iterator[str]]:
    def check(_: Checks, spec: Cgroup) -> Iterator[str]:
        asked, there = getattr(spec, field), _meminfo("MemTotal")
        if asked > there:
            yield f"{word(field)} {size(asked)} is more than the machine has: {size(there)}"

    return check


def _swap(checks: Checks, spec: Cgroup) -> Iterator[str]:
    h, there = checks.tree.of("memory"), _meminfo("SwapTotal")
    if h is None or spec.swap is None:
        return
    if spec.swap > there:
        yield f"swap {size(spec.swap)} is more than the machine has: {size(there)}"
    elif there and not _counts_swap(h):
        yield "swap: the kernel does not count it; boot with swapaccount=1"
    elif h.version == 1 and spec.memory is None:
        yield "swap: cgroup v1 limits it together with memory only; say `memory`, too"


def _counts_swap(h: Hierarchy) -> bool:
    if h.version == 1:
        return h.has("memory.memsw.limit_in_bytes")
    return _in_a_group(h, "memory.swap.max", beside="memory.max") is not False


def _swappiness(checks: Checks, _: Cgroup) -> Iterator[str]:
    if checks.tree.version("memory") == 2:
        yield "swappiness: cgroup v2 has none for a group; only the machine's, vm.swappiness"


def _oom(checks: Checks, spec: Cgroup) -> Iterator[str]:
    if spec.oom == "pause" and checks.tree.version("memory") == 2:
        yield "oom pause: cgroup v2 always kills"


def _reservation(checks: Checks, spec: Cgroup) -> Iterator[str]:
    yield from _memory("memory_reservation")(checks, spec)
    h = checks.tree.of("memory")
    if h and h.version == 1 and not h.has("memory.soft_limit_in_bytes"):
        yield "memory-reservation: this kernel has no soft limit (it is built for real time)"


def _pids(_: Checks, spec: Cgroup) -> Iterator[str]:
    there = int(_text("/proc/sys/kernel/pid_max") or 0)
    if there and (spec.pids or 0) > there:
        yield f"pids {spec.pids} is more than the machine allows: kernel.pid_max is {there}"


def _io_weight(checks: Checks, _: Cgroup) -> Iterator[str]:
    h = checks.tree.of("io")
    if h is None:
        return
    if h.version == 1:
        there: bool | None = h.has("blkio.bfq.io_service_bytes")
    else:
        found = [_in_a_group(h, file, beside="io.stat") for file in IO_WEIGHTS]
        there = any(each is not False for each in found)
    if not there:
        yield "io weight: this kernel weighs no I/O; it takes the BFQ scheduler (`modprobe bfq`) or io.cost"


def _in_a_group(h: Hierarchy, file: str, beside: str) -> bool | None:
    """Whether groups of a v2 hierarchy have a file, told by any that has the one `beside`; None if none has."""
    try:
        entries = os.listdir(h.path)  # noqa: PTH208
    except OSError:
        return None
    for entry in entries:
        if os.path.exists(f"{h.path}/{entry}/{beside}"):  # noqa: PTH110
            return os.path.exists(f"{h.path}/{entry}/{file}")  # noqa: PTH110
    return None


def _io(checks: Checks, spec: Cgroup) -> Iterator[str]:
    h = checks.tree.of("io")
    if h and h.version == 1 and not h.has("blkio.throttle.read_bps_device"):
        yield "io: this kernel does not throttle devices (CONFIG_BLK_DEV_THROTTLING)"
    for limit in spec.io:
        number = cgroup_devices.block_number(limit.device)
        if number is None:
            yield f"io: {limit.device} {_no_device(limit.device, 'block device')}"
        elif os.path.exists(f"/sys/dev/block/{number}/partition"):  # noqa: PTH110
            disk = Path(f"/sys/dev/block/{number}").resolve().parent.name
            yield f"io: {limit.device} is a partition; the kernel limits whole disks: /dev/{disk}"


def _devices(_: Checks, spec: Cgroup) -> Iterator[str]:
    for access in spec.device_access:
        if cgroup_devices.number(access.device) is None:
            yield f"devices: {access.device} {_no_device(access.device, 'device')}"


def _no_device(path: str, what: str) -> str:
    return f"is no {what}" if os.path.lexists(path) else "is not there on this machine"


_CHECKS: dict[str, Callable[[Checks, Cgroup], Iterator[str]]] = {
    "cpu_quota": _cpus,
    "cpu_weight": _weight,
    "cpuset": _cpuset,
    "memory": _memory("memory"),
    "memory_reservation": _reservation,
    "swap": _swap,
    "swappiness": _swappiness,
    "oom": _oom,
    "pids": _pids,
    "io_weight": _io_weight,
    "io": _io,
    "device_access": _devices,
}


def size(number: int) -> str:
    """Bytes in the largest binary unit that leaves a number above 1: `23.5GiB`."""
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f}".removesuffix(".0") + units[0]


def _meminfo(key: str) -> int:
    """A figure of /proc/meminfo, in bytes."""
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
