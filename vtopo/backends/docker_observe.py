"""A container as Docker tells it, against what is recorded of it: limits, name, state, and where its links are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtopo.backends import names, processes
from vtopo.backends.base import Handle, Present
from vtopo.compile.docker_spec import NO_LIMIT
from vtopo.compile.resources import Container
from vtopo.compile.resources.containers import State

_ONLINE = Path("/sys/devices/system/cpu/online")


def handle_of(pid: int) -> Handle:
    """A container's first process and its network namespace; an empty one if it does not run."""
    seen = processes.identity(pid) if pid else None
    return Handle(pid, seen[1], processes.netns_inode(pid)) if seen else Handle()


def present(r: Container, told: Mapping[str, Any], recorded: Handle | None, shared: Handle | None) -> Present:
    """What there is of `r`. `recorded` is its handle at the last run, `shared` that of the container it shares with.

    A process that is another than the recorded one has a network without the lab's links: as long as these
    are not plugged in again, the namespace is not the one that is called `netns`.
    """
    handle = handle_of(int(told["State"]["Pid"]))
    found = dataclasses.replace(
        r,
        name=str(told["Name"]).removeprefix("/"),
        state=_state(r, told, handle, shared),
        **_limits(r, told["HostConfig"]),
    )
    if handle != Handle() and r.netns is not None:
        plugged = handle == recorded and names.inode(r.netns) == handle.inode
        found = dataclasses.replace(found, netns=r.netns if plugged else "")
    return Present(r if found == r else found, handle)


def _state(r: Container, told: Mapping[str, Any], handle: Handle, shared: Handle | None) -> State:
    status = str(told["State"]["Status"])
    if status == "paused":
        return "paused"
    if status != "running":
        return "stopped"
    if r.network == "container" and shared is not None and shared.inode != handle.inode:
        return "detached"
    return "running"


def _limits(r: Container, told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `docker update` changes."""
    period = int(told.get("CpuPeriod") or 0) or r.cpu_period
    memory = _limit(told.get("Memory"))
    both = _limit(told.get("MemorySwap"))
    swap = both - memory if both is not None and memory is not None else None
    return {
        "cpu_period": period,
        "cpu_quota": _quota(told, period),
        "cpu_weight": _default(r.cpu_weight, _limit(told.get("CpuShares")), 1024),
        "cpuset": _cpuset(r.cpuset, str(told.get("CpusetCpus") or "")),
        "memory": memory,
        "memory_reservation": _limit(told.get("MemoryReservation")),
        "swap": swap,
        "pids": _limit(told.get("PidsLimit")),
        "io_weight": _limit(told.get("BlkioWeight")),
        "restart": _restart(told.get("RestartPolicy") or {}),
    }


def _limit(value: Any) -> int | None:
    """What limits; 0 and -1 do not, nor does the most that can be counted."""
    number = int(value or 0)
    return number if 0 < number < NO_LIMIT else None


def _default(ours: int | None, told: int | None, default: int) -> int | None:
    return None if ours is None and told == default else told


def _quota(told: Mapping[str, Any], period: int) -> int | None:
    if nano := int(told.get("NanoCpus") or 0):  # as `docker update --cpus` says it
        return nano * period // 1_000_000_000
    return _limit(told.get("CpuQuota"))


def _cpuset(ours: str | None, told: str) -> str | None:
    if not told:
        return None
    cpus = _numbers(told)
    if ours is None:
        return None if cpus == _numbers(_ONLINE.read_text().strip()) else told
    return ours if cpus == _numbers(ours) else told


def _numbers(cpuset: str) -> frozenset[int]:
    """The CPUs of a list such as `0-1,3` (cpuset(7))."""
    parts = [part.partition("-") for part in cpuset.split(",")]
    return frozenset(n for first, _, last in parts for n in range(int(first), int(last or first) + 1))


def _restart(policy: Mapping[str, Any]) -> str:
    name, count = str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)
    return f"{name}:{count}" if count else name
