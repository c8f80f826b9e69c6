"""Open network namespaces: a descriptor and a netlink socket to each, as many as the limit on files allows."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vtopo.backends import dump, names
from vtopo.backends.base import Handle
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.backends.processes import is_alive
from vtopo.backends.syscalls import CLONE_NEWNET, raise_fd_limit, setns

_SPARE = 256  # files for everything else
_LEAST = 128  # more than one batch of veth pairs needs at once


@dataclass(slots=True)
class Place:
    """A namespace: `indexes` of the interfaces known there by name, `free` the next interface index to choose."""

    handle: Handle
    fd: int
    socket: NetlinkSocket | None = None
    indexes: dict[str, int] = field(default_factory=dict)
    free: int = 2  # the loopback has 1

    def take(self) -> int:
        """An interface index to give to a new interface."""
        self.free += 1
        return self.free - 1

    def close(self) -> None:
        """Let go of the namespace."""
        if self.socket:
            self.socket.close()
            self.socket = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Places:
    """The namespaces of a lab by resource id. All use of one that enters a namespace is from `threads.apart`."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._handles: Mapping[str, Handle] = {}
        self._open: OrderedDict[str, Place] = OrderedDict()
        self._most = max((raise_fd_limit() - _SPARE) // 2, _LEAST)

    def renew(self, handles: Mapping[str, Handle]) -> None:
        """From now on these are the namespaces; what is open of others is closed, so that they can go."""
        self._handles = handles
        for id in [i for i, place in self._open.items() if handles.get(i) != place.handle]:
            self._open.pop(id).close()

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()

    def __getitem__(self, id: str) -> Place:
        """The namespace, open; an OSError if it is gone."""
        place = self._open.get(id)
        if place is not None and place.fd >= 0:
            self._open.move_to_end(id)
            return place
        handle = self._handles.get(id)
        if handle is None:
            raise OSError(errno.ESRCH, f"the network namespace {id} does not exist")
        fd = self._reach(id, handle)
        if place is None:
            place = self._open[id] = Place(handle, fd)
        else:
            place.fd = fd
        self._open.move_to_end(id)
        self._make_room()
        return place

    def _make_room(self) -> None:
        """Close the longest unused; what is known of their interfaces stays."""
        excess = (
            sum(place.fd >= 0 for place in self._open.values()) - self._most
            if len(self._open) > self._most
            else 0
        )
        for place in self._open.values():
            if excess <= 0:
                return
            if place.fd >= 0:
                place.close()
                excess -= 1

    def _reach(self, id: str, handle: Handle) -> int:
        if handle.pid is not None:
            paths = [f"/proc/{handle.pid}/ns/net"]
        else:
            paths = [names.path(name) for name in (f"vtopo.{self._lab}", *names.of_lab(self._lab))]
        for path in paths:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            if handle.inode in (None, os.fstat(fd).st_ino) and (handle.pid is None or is_alive(handle)):
                return fd
            os.close(fd)
        raise OSError(errno.ESRCH, f"the network namespace {id} is gone")

    def enter(self, id: str) -> Place:
        """Move the calling thread into the namespace."""
        place = self[id]
        setns(place.fd, CLONE_NEWNET)
        return place

    def socket(self, id: str) -> NetlinkSocket:
        """A socket to the namespace; the calling thread may be in it afterwards."""
        place = self[id]
        if place.socket is None:
            setns(place.fd, CLONE_NEWNET)
            place.socket = NetlinkSocket()
        return place.socket

    def links(self, id: str) -> dict[str, dump.Link]:
        """The interfaces there, asked of the kernel now."""
        found = dump.links(self.socket(id))
        self.learn(id, found)
        return found

    def learn(self, id: str, links: Mapping[str, dump.Link]) -> None:
        """Keep the indexes of what was seen."""
        place = self[id]
        place.indexes = {name: link.index for name, link in links.items()}
        place.free = max((*place.indexes.values(), 1)) + 1

    def index(self, id: str, name: str) -> int:
        """The index of an interface; an OSError if there is none of that name."""
        index = self[id].indexes.get(name)
        if index is None:
            self.links(id)
            index = self[id].indexes.get(name)
        if index is None:
            raise OSError(errno.ENODEV, f"there is no interface {name} in {id}")
        return index


@contextlib.contextmanager
def empty_namespace() -> Iterator[NetlinkSocket]:
    """A socket to a new namespace of its own, which the calling thread is left in.

    Interfaces that are to be born elsewhere are asked for here: kernels before 6.14 look for the new
    interface's name and index where the socket is.
    """
    from vtopo.backends.syscalls import unshare

    unshare(CLONE_NEWNET)
    socket = NetlinkSocket()
    try:
        yield socket
    finally:
        socket.close()
