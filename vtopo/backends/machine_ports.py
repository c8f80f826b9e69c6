"""Who has a port of the machine: what listens there, by /proc/net and /proc/PID/fd (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

_LISTEN, _UNCONNECTED = "0A", "07"
_STATES = {"tcp": _LISTEN, "udp": _UNCONNECTED}


def holder(protocol: str, port: int, net: Path = Path("/proc/self/net")) -> str | None:
    """Whoever has a port, in words; None if it is free."""
    for name in (protocol, f"{protocol}6"):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _STATES[protocol] and int(fields[1].rpartition(":")[2], 16) == port:
                return _process_of(f"socket:[{fields[9]}]")
    return None


def _process_of(socket: str) -> str:
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                if os.readlink(f"/proc/{pid}/fd/{fd}") == socket:  # noqa: PTH115
                    return f"{Path(f'/proc/{pid}/comm').read_text().strip()}, pid {pid}"
        except OSError:
            continue
    return "a process that cannot be seen from here"
