"""Which machine and which versions the numbers belong to."""

import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

from bench.processes import CommandError, run
from bench.rival import mininet_version


def header(vtopo: str | None) -> list[str]:
    """Lines for the top of the report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"kernel {platform.release()}, {os.cpu_count()} CPUs ({_processor()}), {memory:.0f} GiB, "
        f"load {os.getloadavg()[0]:.2f}",
        f"Python {platform.python_version()}, vtopo {_version(vtopo)}, Mininet {mininet_version()}, "
        f"{run(['ip', '-V'], 10).output.strip().replace(' utility', '') if shutil.which('ip') else 'no ip'}",
    ]


def _version(vtopo: str | None) -> str:
    if vtopo is None:
        return "does not run"
    number = vtopo.split()[-1] if vtopo else "unknown"
    with suppress(CommandError, FileNotFoundError):
        where = Path(__file__).parent
        return f"{number} at {run(['git', 'describe', '--always', '--dirty'], 10, cwd=where).output.strip()}"
    return number


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
