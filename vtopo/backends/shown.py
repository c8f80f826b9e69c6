"""What a host sees of the machine's files without root: folder by folder, since the machine's / is locked.

The kernel lets nobody look below a mount that a user namespace has got from a more privileged one
(mount_namespaces(7)), and overlayfs does not take a lower layer with such mounts in it. So every folder that has
none in it is a layer of its own; one that has some is a plain folder with the next ones in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_OWN = frozenset({"/proc", "/sys", "/dev", "/run", "/tmp"})  # noqa: S108  a host has its own of these
_DEEPEST = 4


def layers(mounted: Iterable[str], skeleton: Path, top: str = "/") -> Iterator[str]:
    """The folders that are to be layers, with places for them made in `skeleton`, and all links beside them."""
    taken = frozenset(mounted)
    yield from _layers(taken, skeleton, top.rstrip("/"), 1)


def _layers(taken: frozenset[str], skeleton: Path, folder: str, depth: int) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder or "/"), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = f"{folder}/{entry.name}"
        place = skeleton / path[1:]
        if path in _OWN or "\n" in path:
            continue
        if entry.is_symlink():
            if not place.is_symlink() and not place.exists():
                place.symlink_to(Path(path).readlink())
        elif entry.is_dir(follow_symlinks=False):
            place.mkdir(exist_ok=True)
            has_more = any(mount.startswith(f"{path}/") for mount in taken)
            if not os.access(path, os.R_OK | os.X_OK):
                continue  # an empty folder of the host's own
            if not has_more:
                yield path
            elif depth < _DEEPEST:
                yield from _layers(taken, skeleton, path, depth + 1)
