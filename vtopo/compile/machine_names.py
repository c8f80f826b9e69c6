"""What an uplink's interface in the machine's own namespace is called: for those who make it, and who look for it."""

from __future__ import annotations

from vtopo.digests import sha256

DEVICE = "vtu"
"""How the names of uplinks' interfaces in the machine's namespace begin."""


def gate_device(lab: str, uplink: str) -> str:
    """The name of an uplink's interface in the machine's namespace, which no other's has."""
    digest = sha256(f"{lab}\0{uplink}".encode()).hexdigest()
    return f"{DEVICE}{digest[:10]}"
