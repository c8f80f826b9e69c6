"""The names of network namespaces under /run/netns, where `ip netns` finds them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vtopo.backends import folders, mounts
from vtopo.backends.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SHARED, mount, umount

FOLDER = Path("/run/netns")
MARK = "vtopo"  # the source of the tmpfs there, if it was vtopo that mounted it


def path(name: str) -> str:
    """Where a name stands; ValueError if it is none: the folder itself is not to be taken for one."""
    if not name or "/" in name:
        raise ValueError(f"{name!r} names no network namespace")
    return f"{FOLDER}/{name}"


def inode(name: str) -> int | None:
    """The inode of the namespace that is bound to `name`; None if none is."""
    try:
        status = os.stat(path(name))  # noqa: PTH116
    except OSError:
        return None
    return status.st_ino if status.st_dev == _nsfs() else None


@functools.cache
def _nsfs() -> int:
    return os.stat("/proc/self/ns/net").st_dev  # noqa: PTH116


def of_lab(lab: str) -> list[str]:
    """The names there that bear a lab's mark, bound or not."""
    return [n for n in everything() if n == f"vtopo.{lab}" or n.startswith(f"vtopo.{lab}.")]


def everything() -> list[str]:
    """All names there, whoever made them."""
    try:
        return sorted(os.listdir(FOLDER))  # noqa: PTH208
    except OSError:
        return []


def bind(namespaces: Mapping[str, str]) -> dict[str, OSError]:
    """Bind each name to the namespace behind a path such as /proc/PID/ns/net; what failed, and why.

    A name of the same kind that a killed run left behind is replaced: it bears the lab's mark.
    """
    failed: dict[str, OSError] = {}
    if not namespaces:
        return failed
    with folders.locked(FOLDER.parent):
        try:
            _prepare()
            for name in namespaces:
                _drop(name)
            _make_files(list(namespaces), failed)
            for name, source in namespaces.items():
                if name not in failed:
                    _bind(name, source, failed)
        except OSError as e:
            failed.update((name, e) for name in namespaces)
        if failed:
            _tidy()
    return failed


def _bind(name: str, source: str, failed: dict[str, OSError]) -> None:
    try:
        mount(source, path(name), flags=MS_BIND)
    except OSError as e:
        failed[name] = e
        with contextlib.suppress(OSError):
            os.unlink(path(name))  # noqa: PTH108


def point(name: str, target: str) -> None:
    """Have `name` lead to where somebody else has bound a namespace: it is not kept beyond its owner's wish.

    A name of the same kind that a killed run left behind is replaced.
    """
    with folders.locked(FOLDER.parent):
        _prepare()
        _drop(name)
        os.symlink(target, path(name))  # noqa: PTH211


def _prepare() -> None:
    """A mount of its own for the folder, as `ip netns add` wants it too.

    One that is there is used, and so is a plain folder with something in it, which a mount would hide.
    """
    if everything() or mounts.at(FOLDER) is not None:  # to look at the mounts takes long where there are many
        return
    fd = folders.make(FOLDER)
    try:
        mount(MARK, f"/proc/self/fd/{fd}", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
        mount("", FOLDER, flags=MS_SHARED | MS_REC)
    finally:
        os.close(fd)


def _make_files(names: list[str], failed: dict[str, OSError]) -> None:
    """Files to bind to: one new file and links to it, since a disk takes long over a thousand new ones."""
    first = ""
    for name in names:
        try:
            if first:
                os.link(path(first), path(name))
            else:
                os.close(os.open(path(name), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
                first = name
        except OSError as e:
            if e.errno == errno.EMLINK:
                first = ""
            failed[name] = e


def _drop(name: str) -> None:
    """Unmount and unlink a name, if there is one; where it cannot be unlinked, it is bound again."""
    where = path(name)
    try:
        kept = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as e:
        if e.errno != errno.ELOOP:
            raise
        os.unlink(where)  # noqa: PTH108  it leads to where somebody else has bound it
        return
    bound = False
    try:
        while _unmounted(where):  # `ip netns` may have been told to bind it twice
            bound = True
        os.unlink(where)  # noqa: PTH108
    except FileNotFoundError:
        return  # somebody else has taken it away meanwhile
    except OSError:
        if bound:
            with contextlib.suppress(OSError):
                mount(f"/proc/self/fd/{kept}", where, flags=MS_BIND)
        raise
    finally:
        os.close(kept)


def _unmounted(where: str) -> bool:
    """Unmount what is bound there; False if nothing is."""
    try:
        umount(where)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        return False
    return True


def drop(names: list[str]) -> Iterator[tuple[str, OSError | None]]:
    """Take names away, and the folder if it was vtopo's and is empty now; each name with what went wrong."""
    if not FOLDER.is_dir():
        yield from ((name, None) for name in names)
        return
    with folders.locked(FOLDER.parent):
        dropped = [_drop_or_say(name) for name in names]
        try:
            _tidy()
        except OSError as e:
            dropped[-1] = dropped[-1] or e
    yield from zip(names, dropped, strict=True)


def _drop_or_say(name: str) -> OSError | None:
    try:
        _drop(name)
    except OSError as e:
        return e
    return None


def tidy() -> None:
    """Unmount the folder's tmpfs and remove the folder, as far as they are vtopo's and empty."""
    with folders.locked(FOLDER.parent):
        _tidy()


def _tidy() -> None:
    if everything():
        return
    there = mounts.at(FOLDER)
    if there is not None:
        if there.source != MARK or there.fstype != "tmpfs":
            return
        umount(FOLDER)
    if mounts.at(FOLDER) is None:
        folders.remove(FOLDER)
