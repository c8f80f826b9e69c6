"""What this machine has to spare: its CPUs and its memory."""

from __future__ import annotations

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def cpus() -> int:
    """How many CPUs this process may run on (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def available_memory(meminfo: Path = _MEMINFO) -> int:
    """The bytes that can be given out without swapping: MemAvailable of proc_meminfo(5)."""
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError(f"{meminfo} does not say MemAvailable")
