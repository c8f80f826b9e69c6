"""A host's limits to its control group, and its membership in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vtopo.compile.resources import Cgroup, Member, Resource
from vtopo.compile.resources.cgroups import CPU_PERIOD
from vtopo.model.lab import Host, Limits


def cgroups(host: Host, host_id: str) -> Iterator[Resource]:
    """What a host with limits has besides itself: nothing, if it has none."""
    if host.limits is None:
        return
    group = _cgroup(host, host.limits)
    yield group
    yield Member(
        id=f"{host.name}/member",
        needs=(host_id, group.id),
        within=(host_id,),
        origin=host.range,
        node=host.name,
        host=host_id,
    )


def _cgroup(host: Host, limits: Limits) -> Cgroup:
    swap = limits.swap
    if swap is None and limits.memory is not None:
        swap = 0  # `memory` means the same on a machine with swap as on one without
    return Cgroup(
        id=f"{host.name}/cgroup",
        origin=host.range,
        node=host.name,
        cpu_quota=limits.cpus * CPU_PERIOD // 1000 if limits.cpus is not None else None,
        cpu_weight=limits.cpu_weight,
        cpuset=cpu_list(limits.cpuset) or None,
        memory=limits.memory,
        memory_reservation=limits.memory_reservation,
        swap=swap,
        swappiness=limits.swappiness,
        oom=limits.oom,
        pids=limits.pids,
        io_weight=limits.io_weight,
        io=limits.io,
        devices=limits.devices,
        device_access=limits.device_rules,
    )


def cpu_list(cpus: Sequence[int]) -> str:
    """CPUs as the kernel lists them: `0-2,5` (cpuset(7), List Format)."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1][1:] = [cpu]
        else:
            runs.append([cpu])
    return ",".join("-".join(map(str, run)) for run in runs)
