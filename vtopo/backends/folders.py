"""Folders for mounts: made without following a symbolic link, and known again as ours when they are to go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vtopo.backends.syscalls import rename_new

# An extended attribute (xattr(7)) on each folder that vtopo made: only these are removed.
MADE = "trusted.vtopo.made"


def make(path: Path) -> int:
    """The folder, made and marked together with its missing parents; a descriptor of it, which the caller closes.

    An OSError names what is in the way: a symbolic link, or a folder that others may write to.
    """
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.absolute().parts[1:]:
            below = _step(fd, part, path)
            os.close(fd)
            fd = below
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "others own it or may write to it", str(path))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _step(parent: int, name: str, path: Path) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if name == "..":
        raise OSError(errno.EINVAL, "a path with '..'", str(path))
    with contextlib.suppress(FileNotFoundError):
        try:
            return os.open(name, flags, dir_fd=parent)
        except OSError as e:
            if e.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OSError(e.errno, f"{name} is a symbolic link or no folder", str(path)) from e
            raise
    # Marked under a name of its own first: one that bears the final name is always marked.
    draft = f".vtopo-{os.getpid()}-{name}"
    os.mkdir(draft, 0o755, dir_fd=parent)
    try:
        fd = os.open(draft, flags, dir_fd=parent)
        with contextlib.suppress(OSError):  # no such attributes on this file system: it will be left behind
            os.setxattr(fd, MADE, b"1")
        os.fchmod(fd, 0o755)
        os.close(fd)
        rename_new(parent, draft, name)
    except FileExistsError:  # another vtopo was quicker
        os.rmdir(draft, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)
    except BaseException:
        os.rmdir(draft, dir_fd=parent)
        raise
    return os.open(name, flags, dir_fd=parent)


def remove(path: Path) -> None:
    """Remove the folder and then its parents, as far as they are marked, empty and not mounted on."""
    for folder in (path, *path.parents):
        try:
            os.getxattr(folder, MADE, follow_symlinks=False)
            folder.rmdir()
        except OSError:
            return


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder's flock(2), so that vtopos that mount there or clean up there take turns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
