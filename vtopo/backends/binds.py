"""Shows a file or folder of the machine in a host, by a mount in the host's namespace alone."""

# ruff: noqa: PTH103, PTH116, PTH119

from __future__ import annotations

import errno
import os
import stat

from vtopo.backends.covered import Notes
from vtopo.backends.inside import Root, mount_id
from vtopo.backends.syscalls import (
    CLONE_FS,
    CLONE_NEWNS,
    mount_setattr,
    move_mount,
    open_tree_clone,
    setns,
    umount,
    unshare,
)
from vtopo.compile.resources import Bind


def attach(root: Root, r: Bind, notes: Notes) -> None:
    """Mount `r.source`, with all that is mounted in it, at `r.path`, which is made if it is missing.

    For a thread of its own, since it moves into the host's mount namespace and stays there (see `threads.apart`).
    """
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        is_folder = stat.S_ISDIR(os.stat(r.source).st_mode)
        tree = open_tree_clone(r.source)
        try:
            mount_setattr(tree, read_only=r.read_only, private=True)
            _make_place(root, r.path, is_folder, notes)
            _enter(root)
            place = root.open(r.path, os.O_PATH)
            try:
                move_mount(tree, place)
            finally:
                os.close(place)
        finally:
            os.close(tree)
            setns(home, CLONE_NEWNS)
    finally:
        os.close(home)


def change(root: Root, r: Bind, notes: Notes) -> None:
    """Make it read-only, or let it be written to."""
    place = root.open(r.path, os.O_PATH)
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(root)
        mount_setattr(place, read_only=r.read_only)
        setns(home, CLONE_NEWNS)
    finally:
        os.close(home)
        os.close(place)


def detach(root: Root, r: Bind, notes: Notes) -> None:
    """Unmount it, and remove what was made to mount it on."""
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _shows(root, r):
            with root.parent(r.path) as parent:
                _enter(root)
                os.fchdir(parent)  # of this thread alone, since it shares its root with no other any more
                umount(os.path.basename(r.path))
    finally:
        setns(home, CLONE_NEWNS)
        os.close(home)
    for path in (r.path, f"{r.path}/x"):  # one of them is what was made to mount on: a file, or a folder
        notes.restore(root, path)


def _shows(root: Root, r: Bind) -> bool:
    """Whether something is mounted at the path itself."""
    try:
        place = root.open(r.path, os.O_PATH)
    except FileNotFoundError:
        return False
    try:
        with root.parent(r.path) as parent:
            return mount_id(place) != mount_id(parent)
    finally:
        os.close(place)


def _enter(root: Root) -> None:
    unshare(CLONE_FS)  # the namespace of a thread that shares its root with others cannot be changed
    fd = os.open(f"/proc/{root.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWNS)
    finally:
        os.close(fd)


def _make_place(root: Root, path: str, is_folder: bool, notes: Notes) -> None:
    """Something of the right kind to mount on."""
    try:
        fd = root.open(path, os.O_PATH)
    except FileNotFoundError:
        pass
    else:
        is_there = stat.S_ISDIR(os.fstat(fd).st_mode)
        os.close(fd)
        if is_there != is_folder:
            words = ("a file", "a folder") if is_folder else ("a folder", "a file")
            raise OSError(errno.ENOTDIR, f"there is {words[0]} in its place, and the machine's is {words[1]}", path)
        return
    made: list[str] = []
    if is_folder:
        with root.parent(f"{path}/x", made) as parent:
            notes.keep(f"{path}/x", parent, made)
        return
    with root.parent(path, made) as parent:
        root.check_own(parent, path)
        notes.keep(path, parent, made)
        name = os.path.basename(path)
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
