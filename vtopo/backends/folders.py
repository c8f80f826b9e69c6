"""Folders for mounts: made without following a symbolic link, and known again as ours when they are to go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from vtopo.backends import rootless
from vtopo.backends.syscalls import rename_new

# An extended attribute (xattr(7)) on each folder that vtopo made: only these are removed.
MADE = "trusted.vtopo.made"
PATIENCE = 60.0
"""Seconds to wait for another vtopo that works in a folder; each holds it for a moment, in large labs for a second."""
_DRAFT = ".vtopo-"
# Why a folder stays: it is not ours, or not empty, or mounted on.
_IN_USE = (
    errno.ENODATA,
    errno.EOPNOTSUPP,
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.EBUSY,
    errno.ENOTDIR,
    errno.ELOOP,
)


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
    # Marked under a name of its own first: one that bears the final name is always marked. Threads make the folders of
    # several nodes at once, and each thread has its own entry in /proc too, which tells that it lives.
    draft = f"{_DRAFT}{threading.get_native_id()}-{name}"
    os.mkdir(draft, 0o755, dir_fd=parent)
    try:
        fd = os.open(draft, flags, dir_fd=parent)
        try:
            _mark(fd)
            os.fchmod(fd, 0o755)
        finally:
            os.close(fd)
        rename_new(parent, draft, name)
    except FileExistsError:  # another vtopo was quicker
        os.rmdir(draft, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)
    except BaseException:
        os.rmdir(draft, dir_fd=parent)
        raise
    return os.open(name, flags, dir_fd=parent)


def _mark(fd: int) -> None:
    try:
        os.setxattr(fd, MADE, b"1")
    except OSError as e:
        # A file system without such attributes: the folder will be left behind. Without root all of /run is ours.
        if e.errno != errno.EOPNOTSUPP and not (e.errno == errno.EPERM and rootless.inside()):
            raise


def remove(path: Path) -> None:
    """Remove the folder and then its parents, as far as they are marked, empty and not mounted on."""
    for folder in (path, *path.parents):
        _remove_drafts(folder)
    for folder in (path, *path.parents):
        try:
            os.getxattr(folder, MADE, follow_symlinks=False)
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError as e:
            if e.errno not in _IN_USE:
                raise
            return


def _remove_drafts(path: Path) -> None:
    """Remove what threads that were killed have left of making the folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208
            thread, _, made = name.removeprefix(_DRAFT).partition("-")
            if name.startswith(_DRAFT) and made == path.name and not Path(f"/proc/{thread}").exists():
                os.rmdir(path.parent / name)  # noqa: PTH106


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder's flock(2), so that vtopos that mount there or clean up there take turns.

    Anyone who can open the folder can hold it, so an OSError tells after `PATIENCE` seconds that somebody does.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + PATIENCE
        while not _try(fd):
            if time.monotonic() > end:
                words = f"another process has held its lock for {PATIENCE:.0f} s; lslocks(8) tells which"
                raise OSError(errno.ETIMEDOUT, words, str(path))
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
