"""Disk images, filled and read without being mounted."""

from __future__ import annotations

import subprocess
from pathlib import Path

from guest.cache import run


def disk(folder: Path, image: Path, mebibytes: int) -> None:
    """Makes an ext4 image with what is in a folder; it takes the room of that and not of its size."""
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(folder), str(image), f"{mebibytes}M"], folder, 300)


def taken(image: Path, path: str) -> str | None:
    """The text of a file in an image that nothing has mounted; None if it is not there."""
    argv = ["debugfs", "-R", f"cat {path}", str(image)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return None if "File not found" in done.stderr else done.stdout
