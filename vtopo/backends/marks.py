"""What on this machine is vtopo's, by its marks alone: processes, names and mounts, whatever any record says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import Enum

from vtopo.backends import cgroup_tree, mounts, names, rootless, scratch
from vtopo.backends.base import Handle
from vtopo.backends.processes import identity, is_ours, netns_inode
from vtopo.values import dataclass

VARIABLE = b"VTOPO_LAB="


class Role(Enum):
    """What a marked process is."""

    HOST = "host"
    UNBORN = "host in set-up"
    ZYGOTE = "zygote"
    SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Marked:
    """A process of a lab; `node` is empty unless it is a host."""

    lab: str
    role: Role
    handle: Handle
    node: str = ""


def processes(of: str | None = None) -> Iterator[Marked]:
    """The processes of this user that carry both marks: the zygote's environment and the root's source.

    Those `of` one lab, or of all. The environment alone could be anyone's copy; it counts only for a zygote and a
    clone of it.
    """
    for entry in _pids():
        lab = _lab_in(_read(f"/proc/{entry}/environ"))
        if lab and of in (None, lab) and is_ours(entry) and (found := _recognize(int(entry), lab)):
            yield found


def _pids() -> Iterator[str]:
    return (entry for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208


def supervisors(lab: str) -> list[Handle]:
    """A lab's supervisors; among the processes of a thousand hosts, all of which are marked, they are found at once."""
    found = []
    for entry in _pids():
        if _runs(_read(f"/proc/{entry}/cmdline").split(b"\0"), _SUPERVISOR):
            marked = _recognize(int(entry), lab)
            if marked is not None and _lab_in(_read(f"/proc/{entry}/environ")) == lab and is_ours(entry):
                found.append(marked.handle)
    return found


def _runs(arguments: list[bytes], program: bytes) -> bool:
    return arguments[1:3] == [b"-I", b"-S"] and arguments[3].endswith(program)


_ZYGOTE, _SUPERVISOR = b"/vtopo/backends/zygote.py", b"/vtopo/backends/supervisor.py"


def supervisor_traces(lab: str) -> list[str]:
    """They in words."""
    return [f"supervisor {handle.pid}" for handle in supervisors(lab)]


def _recognize(pid: int, lab: str) -> Marked | None:
    seen = identity(pid)
    if seen is None or seen[0] in "ZX":
        return None
    handle = Handle(pid, seen[1], netns_inode(pid))
    first = _is_first(pid)
    if first:
        for mount in mounts.mounts(pid):
            if mount.path == "/" and mount.source.startswith(f"vtopo:{lab}:"):
                return Marked(lab, Role.HOST, handle, mount.source.split(":", 2)[2])
    arguments = _read(f"/proc/{pid}/cmdline").split(b"\0")
    title = f"vtopo-init {lab} "
    if (
        os.fsdecode(arguments[0]).startswith(title) and len(arguments) == 2
    ):  # without files or pids of its own
        return Marked(lab, Role.HOST, handle, os.fsdecode(arguments[0]).removeprefix(title))
    if _runs(arguments, _ZYGOTE):
        return Marked(lab, Role.UNBORN if first else Role.ZYGOTE, handle)
    return Marked(lab, Role.SUPERVISOR, handle) if _runs(arguments, _SUPERVISOR) else None


def _lab_in(environ: bytes) -> str:
    for line in environ.split(b"\0"):
        if line.startswith(VARIABLE):
            return os.fsdecode(line[len(VARIABLE) :])
    return ""


def _is_first(pid: int) -> bool:
    """Whether the process is pid 1 of a pid namespace below this one."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == b"1"
    return False


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


def labs_by_marks() -> frozenset[str]:
    """The labs of which anything is on this machine, or known to its Docker engine.

    Of an ordinary user's: what is in their own world; outside of it they have none.
    """
    if rootless.outside():
        return frozenset()
    found = {p.lab for p in processes()} | scratch.labs()
    if not rootless.inside():
        from vtopo.backends import diskfolder, docker_marks, guests, nft

        found |= set(cgroup_tree.labs()) | docker_marks.labs() | guests.labs(guests.RUN) | diskfolder.labs()
        with contextlib.suppress(OSError):  # what asks for one lab says so
            found |= {table.split(".")[1] for table in nft.ours()}
    found.update(name.split(".")[1] for name in names.everything() if name.startswith("vtopo."))
    return frozenset(found)
