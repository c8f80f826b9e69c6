"""The folder with a lab's disks, seeds and console logs, where QEMU's own user can reach them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vtopo.backends import folders
from vtopo.compile.domain_names import FOLDER

KEEP = "trusted.vtopo.keep"
"""An extended attribute of disks that outlive their lab."""

SNAPSHOTS = ".snapshots"
"""The folder beside those of labs that snapshots.py keeps; no lab's name begins with a dot."""


def known_hosts(node: str) -> str:
    """The file with a guest's host key, as ssh(1) keeps it."""
    return f"{node}.known_hosts"


def default_path() -> Path:
    """VTOPO_DISK_DIR; else a folder of libvirt's for root, and one of the user's own for others."""
    if chosen := os.environ.get("VTOPO_DISK_DIR"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path(FOLDER)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local/state") / "vtopo-disks"


class DiskFolder:
    """`PATH/LAB`, made with its parents when first needed, and gone with the last file in it."""

    def __init__(self, lab: str, base: Path | None = None) -> None:
        self.path = (base or default_path()) / lab

    def file(self, name: str) -> Path:
        """Where a file of the lab is; a ValueError if `name` would lead elsewhere."""
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"{name!r} cannot name a file")
        return self.path / name

    def make(self) -> None:
        """Make it; an OSError names what is in the way."""
        os.close(folders.make(self.path))

    def trusted(self) -> bool:
        """Whether it is there and made by vtopo: then what is in it may go."""
        try:
            os.getxattr(self.path, folders.MADE, follow_symlinks=False)
        except OSError:
            return False
        return True

    def traces(self) -> list[str]:
        """The files that are not kept, in words."""
        return [f"file {self.file(name)}" for name in self.names()]

    def names(self) -> list[str]:
        """The files in it, without those that are kept."""
        if not self.trusted():
            return []
        with contextlib.suppress(OSError):
            return sorted(entry.name for entry in self.path.iterdir() if not kept(entry))
        return []

    def remove(self, name: str) -> bool:
        """Remove a file unless it is kept, and the folder if it was the last one; whether it was there."""
        path = self.file(name)
        try:
            if kept(path):
                return False
            path.unlink()
        except FileNotFoundError:
            return False
        finally:
            folders.remove(self.path)
        return True


def kept(path: Path) -> bool:
    """Whether a disk outlives its lab."""
    try:
        os.getxattr(path, KEEP, follow_symlinks=False)
    except OSError:
        return False
    return True


def keep(path: Path, on: bool) -> None:
    """Have it outlive its lab, or not."""
    if on:
        os.setxattr(path, KEEP, b"1", follow_symlinks=False)
    elif kept(path):
        os.removexattr(path, KEEP, follow_symlinks=False)


def labs(base: Path | None = None) -> frozenset[str]:
    """The labs that have such a folder with files that are not kept."""
    with contextlib.suppress(OSError):
        entries = (base or default_path()).iterdir()
        found = (entry.name for entry in entries if entry.is_dir() and entry.name != SNAPSHOTS)
        return frozenset(name for name in found if DiskFolder(name, base).names())
    return frozenset()
