"""What hosts this machine cannot have: kinds of namespaces, ids, roots; said with the reason, before any is made."""

# ruff: noqa: PTH110, PTH208

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtopo.backends import rootless
from vtopo.backends.base import Failed
from vtopo.backends.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare
from vtopo.backends.threads import apart
from vtopo.compile.resources import Host, Resource

if TYPE_CHECKING:
    from vtopo.model.lab import IdMap

_NAMES = {"uid": "user", "gid": "group"}


def unable(batch: Sequence[Resource]) -> Iterator[Failed]:
    """Each thing about a host that cannot be, with the reason."""
    hosts = [r for r in batch if isinstance(r, Host)]
    # Of thousands of hosts, most ask for the same.
    asked = {kind for namespaces in {r.namespaces for r in hosts} for kind in namespaces}
    lacking = [kind for kind in sorted(asked) if not os.path.exists(f"/proc/self/ns/{kind}")]
    no_users = "user" in asked and _text("/proc/sys/user/max_user_namespaces") == "0"
    roots: dict[str, str] = {}
    for r in hosts:
        for kind in lacking:
            if kind in r.namespaces:
                yield Failed(r.id, f"this kernel has no {kind} namespaces", errno.EOPNOTSUPP)
        if no_users and "user" in r.namespaces:
            reason = "this machine lets nobody have a user namespace: user.max_user_namespaces is 0"
            yield Failed(r.id, reason, errno.ENOSPC)
        for ids, maps in (("uid", r.uids), ("gid", r.gids)):
            for one in maps:
                if reason := _lacking(ids, one):
                    yield Failed(r.id, reason, errno.EPERM)
        if r.rootfs is not None:
            if r.rootfs not in roots:
                roots[r.rootfs] = _unsuitable(r.rootfs)
            if roots[r.rootfs]:
                yield Failed(r.id, f"rootfs {r.rootfs}: {roots[r.rootfs]}", errno.EINVAL)


def _lacking(ids: str, one: IdMap) -> str:
    """Why ids outside are not there to be given away; empty if they are."""
    at, end = one.outside, one.outside + one.count
    for line in _text(f"/proc/self/{ids}_map").splitlines():
        first, _, count = map(int, line.split())
        if first <= at < first + count:
            at = min(first + count, end)
    if at == end:
        return ""
    name = _NAMES[ids]
    what = f"map {ids} {one.inside} -> {one.outside} count {one.count}: there is no {name} id {at} here"
    if not rootless.inside():
        return f"{what}: this user namespace was given fewer (/proc/self/{ids}_map)"
    return (
        f"{what}: without root you have yourself as 0, and from 1 on the range that /etc/sub{ids} gives you, "
        f"where new{ids}map(1) is installed"
    )


def _unsuitable(folder: str) -> str:
    """Why a folder cannot be a host's root; empty if it can."""
    try:
        entries = os.listdir(folder)
    except OSError as e:
        return f"{e.strerror} on this machine"
    if not entries:
        return "it is empty; a root has at least the programs that are to run"
    return apart(lambda: _overlays(folder))


def _overlays(folder: str) -> str:
    """The same, of overlayfs' opinion; tried in a mount namespace that ends with the thread that called this."""
    fd = -1
    try:
        unshare(CLONE_NEWNS)
        mount("", "/", flags=MS_REC | MS_PRIVATE)
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # it may be under /run
        mount("vtopo", "/run", "tmpfs")
        for name in ("layer", "root"):
            os.mkdir(f"/run/{name}")  # noqa: PTH102
        options = f"lowerdir=/run/layer:/proc/self/fd/{fd}{',userxattr' if rootless.inside() else ''}"
        mount("vtopo", "/run/root", "overlay", data=options)
    except OSError as e:
        return f"overlayfs does not take it as a layer: {e.strerror}"
    finally:
        if fd >= 0:
            os.close(fd)
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
