"""What hosts and containers have used: from their control groups' files, and of hosts' processes without a group."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from vtopo.backends import cgroup_paths, cgroup_processes
from vtopo.backends.base import Handle
from vtopo.backends.cgroup_paths import Hierarchy, hierarchies
from vtopo.backends.processes import is_alive
from vtopo.backends.usage import NodeUsage, Usage
from vtopo.compile.resources import Container, Host, Resource
from vtopo.values import dataclass

_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")  # µs
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT = 1 << 62  # v1 has a large number for none
_DOCKERS = re.compile(r"/[a-z-]*[0-9a-f]{64}(\.scope)?$")
"""The group of a container, which an engine names by its id (cgroupfs) or makes a scope of (systemd)."""


class HostMeter:
    """Hosts and containers, which Docker puts into a group each.

    Without a group, CPU time and I/O are those of the processes that run now: none tells of ended ones.
    """

    def usage(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Usage:
        """All that run."""
        inits: dict[int, str] = {}
        grouped: dict[str, NodeUsage] = {}
        mounted = hierarchies()
        for r in recorded:
            handle = handles.get(r.id)
            if isinstance(r, Host | Container) and handle is not None and is_alive(handle):
                assert handle.pid is not None
                inits[handle.pid] = r.node
                grouped[r.node] = _in_groups(r, handle.pid, mounted)
        lacking = {pid: node for pid, node in inits.items() if None in _essential(grouped[node])}
        processes = cgroup_processes.of_hosts(lacking) if lacking else {}
        return Usage(
            nodes=tuple(
                _filled(usage, _of_processes(processes[node])) if node in processes else usage
                for node, usage in grouped.items()
            )
        )


def _essential(usage: NodeUsage) -> tuple[int | None, ...]:
    return usage.cpu, usage.memory, usage.pids, usage.read


# Control groups


def _in_groups(r: Host | Container, pid: int, mounted: Iterable[Hierarchy]) -> NodeUsage:
    """What the node's groups count."""
    is_own = cgroup_paths.is_ours if isinstance(r, Host) else _DOCKERS.search
    folders: dict[str, tuple[int, str]] = {}
    for names, path in cgroup_paths.groups_of(pid):
        if is_own(path):
            for h in mounted:
                if cgroup_paths.matching(h, names):
                    folder = cgroup_paths.folder_of(h, path)
                    folders.update(dict.fromkeys(h.controllers or {""}, (h.version, folder)))
                    if h.version == 2:
                        folders[""] = (2, folder)
    read, written = _io(folders)
    return NodeUsage(
        r.node,
        r.kind,
        _cpu(folders),
        _number(folders, "memory", "memory.usage_in_bytes", "memory.current"),
        _number(folders, "memory", "memory.limit_in_bytes", "memory.max"),
        read,
        written,
        _number(folders, "pids", "pids.current", "pids.current"),
        _number(folders, "pids", "pids.max", "pids.max"),
    )


_Folders = Mapping[str, tuple[int, str]]


def _cpu(folders: _Folders) -> int | None:
    if "cpuacct" in folders:
        nanoseconds = _int(_text(f"{folders['cpuacct'][1]}/cpuacct.usage"))
        return None if nanoseconds is None else nanoseconds // 1000
    if "" in folders:  # every v2 group counts it, whatever its controllers
        words = _text(f"{folders[''][1]}/cpu.stat").split()
        return _int(words[1]) if words[:1] == ["usage_usec"] else None
    return None


def _number(folders: _Folders, controller: str, v1: str, v2: str) -> int | None:
    if controller not in folders:
        return None
    version, folder = folders[controller]
    return _int(_text(f"{folder}/{v1 if version == 1 else v2}"))


def _io(folders: _Folders) -> tuple[int | None, int | None]:
    if "blkio" in folders:
        lines = _text(f"{folders['blkio'][1]}/blkio.throttle.io_service_bytes_recursive").splitlines()
        words = [line.split() for line in lines]
        sums = [sum(int(w[2]) for w in words if w[1:2] == [what]) for what in ("Read", "Write")]
        return sums[0], sums[1]
    if "io" in folders and (text := _text_or_none(f"{folders['io'][1]}/io.stat")) is not None:
        pairs = [word.split("=", 1) for word in text.split() if "=" in word]
        sums = [sum(int(n) for key, n in pairs if key == what) for what in ("rbytes", "wbytes")]
        return sums[0], sums[1]
    return None, None


# Processes


@dataclass(slots=True)
class _Sum:
    cpu: int = 0
    memory: int = 0
    read: int = 0
    written: int = 0
    pids: int = 0


def _of_processes(pids: Iterable[int]) -> _Sum:
    """What processes have used that run now; memory is what each has for itself (proc_pid_statm(5))."""
    total = _Sum()
    for pid in pids:
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) < 18 or fields[0] in "ZX":
            continue
        total.cpu += (int(fields[11]) + int(fields[12])) * _TICK
        total.pids += int(fields[17])
        pages = _text(f"/proc/{pid}/statm").split()
        if len(pages) > 2:
            total.memory += (int(pages[1]) - int(pages[2])) * _PAGE
        for line in _text(f"/proc/{pid}/io").splitlines():
            key, _, value = line.partition(": ")
            if key == "read_bytes":
                total.read += int(value)
            elif key == "write_bytes":
                total.written += int(value)
    return total


def _filled(usage: NodeUsage, by_processes: _Sum) -> NodeUsage:
    """The groups' figures, and those of the processes where there are none."""
    return NodeUsage(
        usage.node,
        usage.kind,
        by_processes.cpu if usage.cpu is None else usage.cpu,
        by_processes.memory if usage.memory is None else usage.memory,
        usage.memory_limit,
        by_processes.read if usage.read is None else usage.read,
        by_processes.written if usage.written is None else usage.written,
        by_processes.pids if usage.pids is None else usage.pids,
        usage.pids_limit,
    )


def _int(text: str) -> int | None:
    number = int(text) if text.isdigit() else None
    return number if number is None or number < _NO_LIMIT else None


def _text(path: str) -> str:
    return _text_or_none(path) or ""


def _text_or_none(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:  # noqa: PTH123
            return f.read().strip()
    except OSError:
        return None
