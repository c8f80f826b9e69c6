"""Up, edit, up, down, again and again: nothing grows."""

# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import contextlib
import gc
import os
import threading
from pathlib import Path

from cli import Vtopo, World
from forks import forked, warm
from ground import apart
from sweep_labs import SweepLab, both

from vtopo.cli.world import backends_of
from vtopo.run.transaction import down, up

CYCLES = 200
SETTLED = 40
"""Cycles after which all that is made once has been made."""
GROWTH = 2048
"""KiB of memory that may come and go."""
LAB = SweepLab("host a\nhost b\nlink a -- b\n", "host a\nhost b\nlink a -- b { mtu 1400 }\n")


def usage() -> dict[str, int]:
    """What this process and its machine have: descriptors, threads, mounts, namespaces, cgroups."""
    namespaces = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            namespaces.update(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in os.listdir(f"/proc/{pid}/ns"))
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "namespaces": len(namespaces),
    }


def memory() -> int:
    """Resident memory in KiB."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def soak() -> list[int]:
    """The memory after every twentieth cycle; asserts that all else is as it was."""
    ground = apart()
    before = ground.left()
    lab, edited = both(LAB, ground.lab)
    sizes = []
    first = usage()
    for cycle in range(CYCLES):
        for wanted in (lab, edited):
            up(ground.lab, wanted, "/soak.vlab", backends_of(ground.lab), ground.state)
        down(ground.lab, backends_of(ground.lab), ground.state)
        if cycle == SETTLED:
            first = usage()
        if cycle % 20 == 19:
            sizes.append(memory())
    ground.is_as(before)
    assert usage() == first
    return sizes


def test_two_hundred_cycles_leave_no_trace_in_process_or_machine(world: World) -> None:
    warm()
    sizes = forked(soak, world, 200).value or []
    settled = sizes[SETTLED // 20 :]
    assert max(settled) - min(settled) < GROWTH, sizes


def test_commands_leave_no_trace_either(world: World, inner: Vtopo) -> None:
    for _ in range(3):
        inner("up", inner.write(LAB.text))
        inner("up", inner.write(LAB.edited))
        inner("down")
        assert world.left() == []
        assert inner.names() == []
