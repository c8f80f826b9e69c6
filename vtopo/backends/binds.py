"""Shows a file or folder of the machine in a host, by a mount in the host's namespace alone."""

# ruff: noqa: PTH116, PTH119

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

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

    Like all here for a thread of its own, since it moves between mount namespaces (see `threads.apart`).
    """
    is_folder = stat.S_ISDIR(os.stat(r.source).st_mode)
    tree = open_tree_clone(r.source)
    try:
        mount_setattr(tree, read_only=r.read_only, private=True)
        _make_place(root, r.path, is_folder, notes)
        with _in_namespace_of(root), _opened(root, r.path) as place:
            move_mount(tree, place)
    finally:
        os.close(tree)


def change(root: Root, r: Bind, notes: Notes) -> None:
    """Make it read-only, or let it be written to."""
    with _opened(root, r.path) as place, _in_namespace_of(root):
        mount_setattr(place, read_only=r.read_only)


def detach(root: Root, r: Bind, notes: Notes) -> None:
    """Unmount it, and remove what was made to mount it on."""
    if _shows(root, r):
        with root.parent(r.path) as parent, _in_namespace_of(root):
            os.fchdir(parent)
            umount(os.path.basename(r.path))
    for path in (r.path, f"{r.path}/x"):  # one of them is what was made to mount on: a file, or a folder
        notes.restore(root, path)


@contextlib.contextmanager
def _opened(root: Root, path: str) -> Iterator[int]:
    fd = root.open(path, os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _in_namespace_of(root: Root) -> Iterator[None]:
    """Move the calling thread into the host's mount namespace and back."""
    unshare(CLONE_FS)  # a thread that shares its root and working folder with others cannot move
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{root.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there, CLONE_NEWNS)
        finally:
            os.close(there)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNS)
    finally:
        os.close(home)


def _shows(root: Root, r: Bind) -> bool:
    """Whether something is mounted at the path itself."""
    try:
        with _opened(root, r.path) as place, root.parent(r.path) as parent:
            return mount_id(place) != mount_id(parent)
    except FileNotFoundError:
        return False


def _make_place(root: Root, path: str, is_folder: bool, notes: Notes) -> None:
    """Something of the right kind to mount on."""
    with contextlib.suppress(FileNotFoundError), _opened(root, path) as fd:
        if stat.S_ISDIR(os.fstat(fd).st_mode) != is_folder:
            words = ("a file", "a folder") if is_folder else ("a folder", "a file")
            what = f"there is {words[0]} in its place, and the machine's is {words[1]}"
            raise OSError(errno.ENOTDIR, what, path)
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
