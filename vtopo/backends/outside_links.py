"""Interfaces of labs that are born by a request from the machine's own namespace, and leave nothing there."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Container, Sequence

from vtopo.backends import messages
from vtopo.backends.clearing import wait_until_cleared
from vtopo.backends.gates import Machine, raise_if_refused
from vtopo.backends.links import is_ours
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.places import Places
from vtopo.compile.machine_names import gate_device
from vtopo.compile.resources import MachineVxlan, Macvlan


def bear(
    places: Places,
    there: Machine,
    r: Macvlan | MachineVxlan,
    request: Callable[[str], bytes],
    complete: Callable[[int], Sequence[bytes]],
    explain: Callable[[Answer], str],
    taken: Container[int],
) -> None:
    """Make one in place of what an earlier run may have left of it; an OSError with `explain`'s words if it is refused.

    `taken` are the errors that say that another one is in the way, which may be in a namespace that the kernel has yet
    to clear away. `request` is by the name that it is born under, `complete` by its index there. That name is free
    everywhere: old kernels look for that of an interface in two namespaces.
    """
    born = gate_device(r.netns, r.name)
    links = places.links(r.netns)
    for name in (born, r.name):
        if name in links and not is_ours(links[name]):
            raise OSError(errno.EEXIST, f"{r.netns} has an interface {name} that is not vtopo's")
        if name in links:
            raise_if_refused(places.ask(r.netns, [(r, messages.delete_link(links[name].index))])[0])
    answer = there.socket.request([request(born)])[0]
    if answer.errno in taken:
        wait_until_cleared()
        answer = there.socket.request([request(born)])[0]
    _raise_explained(answer, explain)
    index = places.links(r.netns)[born].index
    try:
        requests = [messages.rename(index, r.name)] if born != r.name else []
        for answer in places.ask(r.netns, [(r, each) for each in (*requests, *complete(index))]):
            _raise_explained(answer, explain)
    except OSError:
        with contextlib.suppress(OSError):
            places.ask(r.netns, [(r, messages.delete_link(index))])
        raise
    places.links(r.netns)


def _raise_explained(answer: Answer, explain: Callable[[Answer], str]) -> None:
    if answer.errno:
        raise OSError(answer.errno, explain(answer))
