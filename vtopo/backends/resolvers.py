"""The name servers that a host behind an uplink asks: those of the machine that can be reached from elsewhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The machine's (resolv.conf(5)), and that of systemd-resolved, whose stub at 127.0.0.53 stands in the first."""

NONE = "# No name server: the names of the lab's hosts are in /etc/hosts.\n"


def resolv_conf(files: tuple[Path, ...] = _FILES) -> str:
    """The resolv.conf of such hosts: of the first file with servers that are not the machine's loopback's."""
    for path in files:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        if servers := list(_servers(lines)):
            others = [line for line in lines if line.split()[:1] in (["search"], ["domain"], ["options"])]
            return "".join(f"{line}\n" for line in (*servers, *others))
    return NONE


def _servers(lines: list[str]) -> Iterator[str]:
    for line in lines:
        words = line.split()
        if words[:1] != ["nameserver"] or len(words) < 2:
            continue
        try:
            address = ipaddress.ip_address(words[1])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local):
            yield f"nameserver {words[1]}"
