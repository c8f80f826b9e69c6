"""The kinds of namespaces, by their files in /proc/PID/ns (namespaces(7)), for programs of all sizes."""

from __future__ import annotations

NAMESPACES = ("pid", "net", "mnt", "uts", "ipc", "user", "cgroup", "time")
"""All of them."""
USUAL = ("pid", "net", "mnt", "uts", "ipc", "cgroup")
"""Those that a host has of its own unless it says otherwise."""
