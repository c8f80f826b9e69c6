"""The files of a container that Docker writes at each start, changed in place: the lab's names, and files of the lab's.

They are mounts, so neither `file` as an archive nor a rename can replace them. What Docker has written of its own
(localhost, the container's address on Docker's bridge) and what the container's programs have added stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vtopo.backends.base import Handle
from vtopo.backends.inside import root_of
from vtopo.compile.docker_spec import host_entries

HOSTS = "/etc/hosts"
_PATHS = {HOSTS: "HostsPath", "/etc/hostname": "HostnamePath", "/etc/resolv.conf": "ResolvConfPath"}
"""Where they are, and the field of Docker's that says where it keeps each."""
_MOST = 8 << 20  # bytes that are read of one


def is_dockers(path: str) -> bool:
    """Whether Docker writes what is at `path`."""
    return path in _PATHS


def dockers(told: Mapping[str, Any]) -> frozenset[str]:
    """Those that are Docker's in a container of which it has `told`: not where the lab shows a path of the machine."""
    mounted = {str(m["Destination"]) for m in told.get("Mounts") or ()}
    return frozenset(path for path, key in _PATHS.items() if told.get(key) and path not in mounted)


def names_found(names: str, told: Mapping[str, Any], handle: Handle) -> str:
    """What a container that runs has of the lab's `names`, and of those that the lab had when it was made."""
    wanted = host_entries(names)
    known = {*wanted, *_made_with(told)}
    there = [entry for entry in host_entries(_read(handle, HOSTS)) if entry in known]
    if set(there) == set(wanted):
        return names
    return "".join(f"{address} {name}\n" for address, name in dict.fromkeys(there))


def tell_names(old: str, new: str, told: Mapping[str, Any], handle: Handle) -> None:
    """Have the names `new` in a container that runs, in place of the `old` ones and of those that it was made with."""
    wanted = host_entries(new)
    gone = {*host_entries(old), *_made_with(told)} - set(wanted)
    text = _read(handle, HOSTS)
    kept = [line for line in text.splitlines() if not gone.intersection(host_entries(line))]
    there = set(host_entries("\n".join(kept)))
    kept += [f"{address}\t{name}" for address, name in wanted if (address, name) not in there]
    changed = "".join(f"{line}\n" for line in kept)
    if changed != text:
        write(handle, HOSTS, changed.encode(errors="surrogateescape"))


def write(
    handle: Handle, path: str, data: bytes, mode: int | None = None, ids: tuple[int, int] = (0, 0)
) -> None:
    """Give a file of a container that runs another content and, with a mode, other permissions and another owner."""
    with root_of(handle) as root:
        fd = root.open(path, os.O_WRONLY)
        try:
            at = 0
            while at < len(data):
                at += os.pwrite(fd, data[at:], at)
            os.ftruncate(fd, len(data))
            if mode is not None:
                os.fchown(fd, root.uid(ids[0]), root.gid(ids[1]))
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def _made_with(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What Docker writes at each start."""
    added = told["HostConfig"].get("ExtraHosts") or ()
    return [(address, name) for name, _, address in (str(each).partition(":") for each in added)]


def _read(handle: Handle, path: str) -> str:
    with root_of(handle) as root, open(root.open(path, os.O_RDONLY), "rb") as f:  # noqa: PTH123
        return f.read(_MOST).decode(errors="surrogateescape")
