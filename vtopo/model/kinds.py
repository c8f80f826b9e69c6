"""Kinds: of namespaces, by their files in /proc/PID/ns (namespaces(7)), and of nodes; for programs of all sizes."""

from __future__ import annotations

NAMESPACES = ("pid", "net", "mnt", "uts", "ipc", "user", "cgroup", "time")
"""All of them."""
USUAL = ("pid", "net", "mnt", "uts", "ipc", "cgroup")
"""Those that a host has of its own unless it says otherwise."""
ENTERED = ("host", "container", "domain")
"""The kinds of nodes that commands run in; each is the resource NODE/KIND."""
