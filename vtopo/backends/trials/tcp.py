"""TCP out of a node: whether a port answers, and how much passes in a second."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.trials.place import family, in_netns
from vtopo.backends.trials.verdict import Seen

ONE_TRY = 1.0
"""Seconds that one connection may take."""
WARM_UP, STREAM = 0.3, 1.0
"""Seconds of a stream that are left out, and that count."""


def connects(handle: Handle, address: IPv4Address | IPv6Address, port: int, left: float) -> Seen:
    """Whether a connection to the port comes about."""
    try:
        one = in_netns(handle, lambda: socket.socket(family(address), socket.SOCK_STREAM))
    except BackendError as e:
        return Seen(False, str(e))
    with one:
        one.settimeout(min(left, ONE_TRY))
        begun = time.monotonic()
        try:
            one.connect((str(address), port))
        except TimeoutError:
            return Seen(False, f"{address} port {port}: no answer")
        except OSError as e:
            return Seen(False, f"{address} port {port}: {os.strerror(e.errno or 0).lower()}")
        return Seen(True, f"{address} port {port}: {(time.monotonic() - begun) * 1000:.2f} ms")


def bits_per_second(
    sender: Handle, receiver: Handle, address: IPv4Address | IPv6Address, left: float
) -> float | str:
    """What one TCP stream from a node to another carries, in bit/s of payload; or why there is none."""
    kind = family(address)
    try:
        listening = in_netns(receiver, lambda: socket.socket(kind, socket.SOCK_STREAM))
        sending = in_netns(sender, lambda: socket.socket(kind, socket.SOCK_STREAM))
    except BackendError as e:
        return str(e)
    with listening, sending:
        sending.settimeout(min(left, 2 * ONE_TRY))
        try:
            listening.bind((str(address), 0))
            listening.listen(1)
            sending.connect((str(address), listening.getsockname()[1]))
            receiving, _ = listening.accept()
        except OSError as e:
            return f"{address}: {os.strerror(e.errno or 0).lower() if e.errno else 'no answer'}"
        with receiving:
            return _streamed(sending, receiving)


def _streamed(sending: socket.socket, receiving: socket.socket) -> float:
    """Bits per second that arrive, once the stream has got going."""
    done = threading.Event()

    def send() -> None:
        block = bytes(1 << 16)
        sending.settimeout(0.1)
        while not done.is_set():
            try:
                sending.send(block)
            except TimeoutError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=send, name="vtopo-stream")
    thread.start()
    try:
        _receive(receiving, WARM_UP)
        begun = time.monotonic()
        received = _receive(receiving, STREAM)
        return received * 8 / (time.monotonic() - begun)
    finally:
        done.set()
        thread.join()


def _receive(receiving: socket.socket, seconds: float) -> int:
    """Bytes that come within this time."""
    end = time.monotonic() + seconds
    received = 0
    poll = select.poll()
    poll.register(receiving, select.POLLIN)
    while (left := end - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            part = receiving.recv(1 << 18)
            if not part:
                break
            received += len(part)
    return received
