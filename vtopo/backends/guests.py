"""A lab's QEMU processes, found and ended without libvirt: for when it does not answer."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from vtopo.backends import processes
from vtopo.backends.base import Handle
from vtopo.backends.processes import identity
from vtopo.compile.domain_names import domain_name, domain_uuid
from vtopo.values import dataclass

RUN = Path("/run/libvirt/qemu")
"""Where the system's libvirt keeps the pid file of each QEMU."""

SETTLING = 1.0
"""Seconds in which a QEMU turns up that libvirt began to start before it died."""

DYING = 10.0
"""Seconds that a QEMU may take to die of SIGKILL."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A QEMU of a lab."""

    node: str
    handle: Handle


def of_lab(lab: str, run_folder: Path) -> Iterator[Guest]:
    """Those that libvirt keeps a pid file of, and that run as libvirt's QEMU of a VM of ours does.

    Both name and UUID are on its command line; the UUID follows from the name as nobody else would choose it.
    """
    prefix = domain_name(lab, "")
    for name in _names(run_folder):
        if name.startswith(prefix) and name.endswith(".pid"):
            node = name[len(prefix) : -len(".pid")]
            with contextlib.suppress(OSError, ValueError):
                pid = int((run_folder / name).read_text())
                if (handle := _verified(pid, lab, node)) is not None:
                    yield Guest(node, handle)


def traces(lab: str, run_folder: Path = RUN) -> list[str]:
    """A lab's QEMU processes, in words."""
    return [f"VM {guest.node}" for guest in of_lab(lab, run_folder)]


def orphans(lab: str, node: str) -> list[Guest]:
    """The QEMUs of one VM among all processes: a libvirt that died in the middle of a start has written no pid file."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if (handle := _verified(int(entry), lab, node)) is not None:
                    found.append(Guest(node, handle))
    return found


def end_orphans(lab: str, node: str) -> bool:
    """End them until none has come for a while, since libvirt may have begun one more; whether all went."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < SETTLING:
        if found := orphans(lab, node):
            if kill(found):
                return False
            quiet_since = time.monotonic()
        time.sleep(0.05)
    return True


def labs(run_folder: Path) -> frozenset[str]:
    """The labs that have one."""
    found = {
        name.split(".")[1] for name in _names(run_folder) if name.startswith("vtopo.") and name.count(".") > 2
    }
    return frozenset(lab for lab in found if any(of_lab(lab, run_folder)))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _verified(pid: int, lab: str, node: str) -> Handle | None:
    seen = identity(pid)
    if seen is None or seen[0] in "ZX":
        return None
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    named = any(a.startswith(f"guest={domain_name(lab, node)},") for a in _after(arguments, "-name"))
    return Handle(pid, seen[1]) if named and domain_uuid(lab, node) in _after(arguments, "-uuid") else None


def _after(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == option]


def kill(guests: list[Guest]) -> list[Guest]:
    """End them; those that do not die."""
    waiting = processes.kill([guest.handle for guest in guests])
    try:
        alive = set(waiting.values())
        for handle in processes.wait(waiting, DYING):
            alive.discard(handle)
    finally:
        processes.close_all(waiting)
    return [guest for guest in guests if guest.handle in alive]
