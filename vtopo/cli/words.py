"""Counts and times in words, the same in every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtopo.model.lab import Lab


def plural(number: int, what: str) -> str:
    """`1 host`, `2 hosts`, `2 bridges`, `2 switches`."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what}{'es' if what.endswith(('s', 'ch', 'x')) else 's'}"


def describe(lab: Lab) -> str:
    """`2 hosts, 1 bridge, 2 links` of a lab."""
    uplinks = sum(bridge.kind == "uplink" for bridge in lab.bridges)
    counts = [
        (len(lab.hosts) - len(lab.containers) - len(lab.vms), "host"),
        (len(lab.containers), "container"),
        (len(lab.vms), "vm"),
        (len(lab.bridges) - uplinks, "bridge"),
        (uplinks, "uplink"),
        (len(lab.links), "link"),
        (len(lab.overlays), "overlay"),
        (len(lab.expectations), "expectation"),
    ]
    return ", ".join(plural(n, what) for n, what in counts if n) or "empty"


def duration(seconds: float) -> str:
    """`0.31 s`, `12 s` or `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def natural(name: str) -> list[tuple[int, str]]:
    """A key by which h2 sorts before h10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]
