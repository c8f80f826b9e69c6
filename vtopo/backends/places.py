"""Open network namespaces: a descriptor and a netlink socket to each, as many as the limit on files allows."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from vtopo.backends import dump, names
from vtopo.backends.base import Call, Handle, Watch
from vtopo.backends.netlink_socket import Answer, NetlinkSocket
from vtopo.backends.processes import state_anywhere
from vtopo.backends.syscalls import CLONE_NEWNET, raise_fd_limit, setns
from vtopo.compile.resources import Resource
from vtopo.values import dataclass

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

    def __del__(self) -> None:
        self.close()


class Places:
    """The namespaces of a lab by resource id. All use of one that enters a namespace is from `threads.apart`."""

    def __init__(self, lab: str, watch: Watch | None = None) -> None:
        self._lab = lab
        self._calls = watch.calls if watch else None
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
            if handle.inode in (None, os.fstat(fd).st_ino) and (handle.pid is None or state_anywhere(handle)):
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

    def ask(self, id: str, requests: Sequence[tuple[Resource, bytes]]) -> list[Answer]:
        """Send requests to a namespace, each for the step of a resource; an answer to each."""
        answers = self.socket(id).request([request for _, request in requests])
        self.tell(id, requests, answers)
        return answers

    def tell(self, id: str, requests: Sequence[tuple[Resource, bytes]], answers: Sequence[Answer]) -> None:
        """Let whoever watches know of requests that were sent from a namespace."""
        if self._calls is None:
            return
        from vtopo.backends.describe import describe

        for (r, request), answer in zip(requests, answers, strict=True):
            text = describe(request, id, self._place_of, self._name_of)
            self._calls.put(Call(r.id, text, str(answer) if answer.errno else ""))

    def tell_of(self, r: Resource, text: str) -> None:
        """Let whoever watches know of something else that is done for a resource's step."""
        if self._calls is not None:
            self._calls.put(Call(r.id, text))

    def _place_of(self, fd: int) -> str:
        return next((id for id, place in self._open.items() if place.fd == fd), "")

    def _name_of(self, id: str, index: int) -> str:
        place = self._open.get(id)
        names_ = (name for name, i in place.indexes.items() if i == index) if place else iter(())
        return next(names_, f"index {index}")

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


def place_name(id: str) -> str:
    """What people call a namespace: the node's name."""
    return id.rpartition("/")[0] or id


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
