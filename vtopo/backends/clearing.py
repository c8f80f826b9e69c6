"""Waits for the kernel to have cleared network namespaces away: it does so some time after the last process has left.

Until then an interface in one holds what it has outside: a VXLAN tunnel its VNI at the machine's port, a macvlan the
machine's interface. The kernel takes namespaces up in the order of their ends, all that have ended by then at once
(cleanup_net in net/core/net_namespace.c), so one that has ended now is gone after all that ended before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

from vtopo.backends import dump, messages
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.backends.places import empty_namespace
from vtopo.backends.syscalls import CLONE_NEWNET, setns

PATIENCE = 60.0
"""Seconds: a thousand namespaces take ten on a busy machine."""
_LOOK = 0.01


def wait_until_cleared() -> None:
    """Wait for all network namespaces that have ended to be gone, with their interfaces.

    Moves the calling thread into a namespace of its own. OSError if none can be made, TimeoutError after a minute.
    """
    with empty_namespace() as here, contextlib.ExitStack() as held:
        netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        held.callback(os.close, netns)
        with empty_namespace() as there:
            _join(there, netns)
            setns(netns, CLONE_NEWNET)  # the other one ends with this and its socket
        end = time.monotonic() + PATIENCE
        while "near" in dump.links(here):
            if time.monotonic() > end:
                words = f"the kernel has not cleared a network namespace away for {PATIENCE:.0f} s"
                raise TimeoutError(errno.ETIMEDOUT, words)
            time.sleep(_LOOK)


def _join(there: NetlinkSocket, netns: int) -> None:
    """A veth pair from the namespace of a socket to another, whose end of it goes with the first."""
    theirs = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        near = messages.Birth(netns, 0, "near", "02:00:00:00:00:01", 1500, is_up=False)
        far = messages.Birth(theirs, 0, "far", "02:00:00:00:00:02", 1500, is_up=False)
        answer = there.request([messages.veth(near, far)])[0]
    finally:
        os.close(theirs)
    if answer.errno:
        raise OSError(answer.errno, f"a veth pair to wait for: {answer}")
