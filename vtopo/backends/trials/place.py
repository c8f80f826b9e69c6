"""Work inside a node's network namespace, from a thread that ends with it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.processes import open_verified
from vtopo.backends.syscalls import CLONE_NEWNET, setns
from vtopo.backends.threads import apart

T = TypeVar("T")
NOT_RUNNING = "the node is not running"


def in_netns(handle: Handle, work: Callable[[], T]) -> T:
    """The result of `work` in the network namespace of a node; BackendError if it does not run."""

    def enter() -> T:
        pidfd = open_verified(handle)
        if pidfd is None:
            raise BackendError(NOT_RUNNING)
        try:
            setns(pidfd, CLONE_NEWNET)
        finally:
            os.close(pidfd)
        return work()

    return apart(enter)


def family(address: IPv4Address | IPv6Address) -> socket.AddressFamily:
    """The socket family of an address."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
