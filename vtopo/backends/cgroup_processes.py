"""Processes in and out of control groups: a host's into its own, a command after it, what is left of one killed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping

from vtopo.backends.cgroup_paths import folder_of, groups_of, matching
from vtopo.backends.cgroup_tree import Tree, write
from vtopo.backends.membership import deciding, inode_of

_ROUNDS = 50  # of looking for processes that were forked while others were moved


def ways(lab: str) -> list[str]:
    """Of each hierarchy with groups of a lab's hosts, the folder of this process' own group, and that of those."""
    tree = Tree(lab)
    found: list[str] = []
    for h in tree.all:
        if tree.groups(h):
            for names, path in groups_of("self"):
                if matching(h, names) and "/.." not in path:
                    found += [folder_of(h, path), tree.base(h)]
    return found


def spaces_of(inits: Mapping[int, str]) -> Mapping[tuple[str, int], str]:
    """The hosts by the namespaces that decide which processes are theirs."""
    return {decides: node for pid, node in inits.items() if (decides := deciding(pid))[1]}


def of_hosts(
    inits: Mapping[int, str], spaces: Mapping[tuple[str, int], str] | None = None
) -> Mapping[str, set[int]]:
    """All processes of hosts, by the host: those in the namespace that decides, and their descendants."""
    if spaces is None:
        spaces = spaces_of(inits)
    kinds = sorted({kind for kind, _ in spaces})
    found: dict[str, set[int]] = {node: set() for node in inits.values()}
    nodes: dict[int, str] = {}
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if not entry.isdigit():
            continue
        pid = int(entry)
        if node := next((n for k in kinds if (n := spaces.get((k, inode_of(pid, k))))), inits.get(pid)):
            nodes[pid] = node
        elif parent := _parent(pid):
            parents[pid] = parent
    for pid in parents:
        if node := _inherited(pid, parents, nodes):
            nodes[pid] = node
    for pid, node in nodes.items():
        found[node].add(pid)
    return found


def _inherited(pid: int, parents: Mapping[int, int], nodes: Mapping[int, str]) -> str | None:
    for _ in range(1000):
        if pid in nodes:
            return nodes[pid]
        if pid not in parents:
            return None
        pid = parents[pid]
    return None


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:  # noqa: PTH123
            return int(f.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def move(pid: int, procs: int) -> bool:
    """Move a process to the group whose cgroup.procs is open as `procs`; False if it has ended."""
    try:
        os.write(procs, str(pid).encode())
    except ProcessLookupError:
        return False
    return True


def move_all(source: str, target: str) -> None:
    """Move every process of the group of one folder to that of another; OSError if some stay."""
    fd = os.open(f"{target}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for _ in range(_ROUNDS):
            left = members(source)
            if not left:
                return
            for pid in left:
                move(pid, fd)
    finally:
        os.close(fd)
    raise OSError(errno.EBUSY, "processes keep appearing in it", source)


def members(folder: str) -> list[int]:
    """The processes in the group of a folder itself; none if it is gone."""
    try:
        with open(f"{folder}/cgroup.procs", encoding="ascii") as f:  # noqa: PTH123
            return [int(pid) for pid in f.read().split()]
    except OSError:
        return []


def remove(folder: str, seconds: float) -> None:
    """Remove the group of a folder and all in it, killing what still runs there; OSError if that takes too long."""
    end = time.monotonic() + seconds
    while True:
        try:
            os.rmdir(folder)  # noqa: PTH106
        except FileNotFoundError:
            return
        except OSError as e:
            if time.monotonic() > end:
                left = [pid for each in _below(folder) for pid in members(each)]
                words = f"processes do not die of SIGKILL: {left[0]}" if left else e.strerror
                raise OSError(e.errno, words, folder) from e
            for each in _below(folder):
                kill(each)
                if each != folder:
                    with contextlib.suppress(OSError):
                        os.rmdir(each)  # noqa: PTH106
            time.sleep(0.002)
        else:
            return


def _below(folder: str) -> list[str]:
    """The groups in a group, and itself, the innermost first."""
    return [each for each, _, _ in os.walk(folder, topdown=False)]


def kill(folder: str) -> None:
    """SIGKILL to what is in the group of a folder."""
    with contextlib.suppress(OSError):
        write(f"{folder}/cgroup.kill", "1")  # v2 since Linux 5.14; frozen ones, too
        return
    held: dict[int, int] = {}
    try:
        for pid in members(folder):
            with contextlib.suppress(OSError):
                held[pid] = os.pidfd_open(pid)
        # Held by now, a process that is still listed is the one that was.
        for pid in members(folder):
            if pid in held:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(held[pid], signal.SIGKILL)
    finally:
        for fd in held.values():
            os.close(fd)
