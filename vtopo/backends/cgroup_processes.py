"""Processes in and out of control groups: a host's into its own, a command after it, what is left of one killed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from vtopo.backends.cgroup_tree import OURS, Hierarchy, Tree, hierarchies, write
from vtopo.backends.membership import deciding, inode_of

_ROUNDS = 50  # of looking for processes that were forked while others were moved


def groups_of(pid: int | str) -> Iterator[tuple[frozenset[str], str]]:
    """The groups of a process: the hierarchy's controllers (none: v2) and the group's path (proc_pid_cgroup(5))."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:  # noqa: PTH123
            text = f.read()
    except OSError:
        return
    for line in text.splitlines():
        number, names, path = line.split(":", 2)
        if number == "0" or not names.startswith("name="):
            yield frozenset(names.split(",") if names else ()), path


def folder_of(h: Hierarchy, path: str) -> str:
    """Where a hierarchy shows the group `path`."""
    inside = path.removeprefix(h.root) if h.root != "/" else path
    return f"{h.path}/{inside.strip('/')}".rstrip("/")


def matching(h: Hierarchy, names: frozenset[str]) -> bool:
    """Whether a line of /proc/PID/cgroup is about this hierarchy."""
    return not names if h.version == 2 else h.controllers <= names


def folders(pid: int, look: Callable[[], Sequence[Hierarchy]] = hierarchies) -> list[str]:
    """The folders of the groups that vtopo put the process `pid` in, if any.

    Who asks for many processes has `look` remember what it found: it reads all mounts, and each host has some.
    """
    ours = [(names, path) for names, path in groups_of(pid) if OURS.search(path)]
    each = look() if ours else ()
    return [folder_of(h, path) for h in each for names, path in ours if matching(h, names)]


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


def doors(pid: int) -> list[int]:
    """Descriptors of the groups that vtopo put the process `pid` in, if any: who writes 0 there is in them.

    To be opened before another mount namespace is entered, where /sys/fs/cgroup is another one's.
    """
    opened: list[int] = []
    try:
        for folder in folders(pid):
            opened.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
    return opened


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
