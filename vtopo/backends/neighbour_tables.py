"""The kernel's tables of neighbours, which all of a machine's namespaces share.

At `gc_thresh3` entries (1024 by default) a new one is refused, and whoever is not in the table is not reached. An entry
that is in use makes room only after some tens of seconds (neigh_forced_gc of net/core/neighbour.c).
"""

from __future__ import annotations

from pathlib import Path

_CACHES = ("arp_cache", "ndisc_cache")

OVERFLOW = (
    "the machine's table of neighbours overflowed: `sysctl -w net.ipv4.neigh.default.gc_thresh3=65536 "
    "net.ipv6.neigh.default.gc_thresh3=65536` makes room"
)


def overflows() -> int:
    """How often an entry was refused since the machine's start; 0 where the kernel does not tell."""
    return sum(_refused(cache) for cache in _CACHES)


def _refused(cache: str) -> int:
    """The counter of a table: its file has names, then a line a CPU."""
    try:
        names, *cpus = Path(f"/proc/net/stat/{cache}").read_text().splitlines()
        at = names.split().index("table_fulls")
    except (OSError, ValueError):
        return 0
    return sum(int(line.split()[at], 16) for line in cpus)
