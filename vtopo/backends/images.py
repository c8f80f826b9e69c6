"""Disk images by way of qemu-img: what one is, whether QEMU may read it, a new one over another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from vtopo.values import dataclass

FORMATS = frozenset({"raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx"})
"""What a base image may be; others are protocols, or reach elsewhere."""

_SECTOR = 512
_TIME = 60  # seconds that qemu-img may take for what needs milliseconds


class ImageError(Exception):
    """An image cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Image:
    """A base image: its format and the size of the disk that it holds, in bytes."""

    format: str
    size: int


def look(path: str) -> Image:
    """What the image is; ImageError if it is missing, in use by someone who writes to it, or no disk image."""
    if not os.path.isfile(path):  # noqa: PTH113
        is_there = os.path.exists(path)  # noqa: PTH110
        raise ImageError(f"{path} is no file" if is_there else f"there is no image {path}")
    # Without -U it takes QEMU's lock as a reader does, which a writer's excludes.
    text = _qemu_img("info", "--output=json", path)
    said = json.loads(text)
    image = Image(str(said["format"]), int(said["virtual-size"]))
    if image.format not in FORMATS:
        raise ImageError(f"{path} is a {image.format} image; a base is one of {', '.join(sorted(FORMATS))}")
    # To qemu-img whatever has no format is a raw image, a text too.
    length = os.path.getsize(path)  # noqa: PTH202
    if image.format == "raw" and (length == 0 or length % _SECTOR):
        raise ImageError(f"{path} is no disk image: its {length} bytes are no number of whole sectors")
    return image


def make(target: str, base: str | None, format: str, size: int | None) -> None:
    """A qcow2 image over `base`, or an empty one of `size` bytes."""
    backing = ["-b", base, "-F", format] if base else []
    _qemu_img("create", "-q", "-f", "qcow2", *backing, target, *([str(size)] if size else []))


def base_of(path: str) -> str | None:
    """The file that an image of ours stands over, or None; the image may be in use."""
    said = json.loads(_qemu_img("info", "-U", "--output=json", path))
    found = said.get("backing-filename")
    return str(found) if found else None


def unreadable(path: str, owner: str) -> str | None:
    """Why QEMU, running as `owner` (`+uid:+gid`, or empty for ourselves), cannot read a file; None if it can."""
    if not os.path.exists(path):  # noqa: PTH110
        return f"there is no file {path}"
    if not owner or os.geteuid() != 0:
        return None if os.access(path, os.R_OK) else f"{path} may not be read by this user"
    uid, gid = (int(part) for part in owner.replace("+", "").split(":"))
    # By a process with that user's rights, so that whatever grants or denies them counts.
    read = subprocess.run(
        ["/usr/bin/test", "-r", path],
        user=uid,
        group=gid,
        extra_groups=[],
        check=False,
        cwd="/",
        timeout=_TIME,
    )
    if read.returncode == 0:
        return None
    return (
        f"{path} cannot be read by QEMU, which runs as user {uid}: let others read it (chmod o+r) and pass "
        "through its folders (chmod o+x), or put it into /var/lib/libvirt/images"
    )


def _qemu_img(*arguments: str) -> str:
    if shutil.which("qemu-img") is None:
        raise ImageError("qemu-img is missing; install it (Debian package qemu-utils)")
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], capture_output=True, text=True, check=False, timeout=_TIME, cwd="/"
        )
    except subprocess.TimeoutExpired as e:
        raise ImageError(f"qemu-img {arguments[0]} of {arguments[-1]} took longer than {_TIME} s") from e
    if done.returncode:
        lines = [line.removeprefix("qemu-img: ") for line in done.stderr.splitlines()]
        if any("lock" in line for line in lines):
            raise ImageError(
                f"{arguments[-1]} is in use: another machine writes to it. Stop that, or copy the image"
            )
        raise ImageError("; ".join(lines) or f"qemu-img {arguments[0]} failed")
    return done.stdout
