"""Points at which a run can be killed, and calls that can be refused: hooks around all that it does to the world.

They are laid around vtopo from outside and only in a process that was forked for it, so vtopo itself has no switch
that anyone could touch. Three layers: the journal (before and after each of its entries), the backends (before each
batch, after each outcome), and the calls below them: system calls and netlink messages.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import docker
import requests

from vtopo.backends import engine_wire, netlink_socket, syscalls, zygotes
from vtopo.backends.base import Backend, Handle, Outcome
from vtopo.compile.resources import Resource
from vtopo.state.store import Store

NATURAL: Mapping[str, tuple[int, ...]] = {
    "mkdir": (errno.ENOSPC, errno.EPERM),
    "mknod": (errno.EPERM, errno.ENOSPC),
    "link": (errno.ENOSPC, errno.EPERM),
    "symlink": (errno.ENOSPC,),
    "rename": (errno.ENOSPC,),
    "unlink": (errno.EPERM, errno.EBUSY),
    "rmdir": (errno.EPERM,),
    "setxattr": (errno.ENOSPC, errno.EPERM),
    "chmod": (errno.EPERM,),
    "fchmod": (errno.EPERM,),
    "open": (errno.EMFILE, errno.ENOSPC),
    "write": (errno.EINVAL, errno.ENOSPC),
    "pidfd_open": (errno.EMFILE, errno.ENODEV),
    "pidfd_send_signal": (errno.EPERM,),
    "fork_exec": (errno.EAGAIN, errno.ENOMEM),
    "socketpair": (errno.EMFILE,),
    "wire": (errno.EPIPE,),
    "mount": (errno.EPERM, errno.ENOMEM, errno.ENODEV),
    "umount2": (errno.EBUSY, errno.EPERM),
    "setns": (errno.EPERM, errno.ENOMEM),
    "unshare": (errno.EPERM, errno.ENOSPC),
    "renameat2": (errno.ENOSPC,),
    "engine": (errno.ENOSPC, errno.ENOMEM),
    "netlink": (errno.ENOBUFS, errno.EEXIST, errno.ENODEV, errno.EPERM, errno.ENOMEM, errno.EBUSY),
}
"""The errors that each call can well meet: no space, no right, no memory, no descriptor, somebody was there first."""


DONE = ": done"


@dataclass(frozen=True)
class Point:
    """A moment of a run: what is about to happen or has just happened, and for calls who makes it."""

    what: str
    caller: str = ""

    @property
    def call(self) -> str:
        """The name of the call."""
        return self.what.partition(" ")[0]

    @property
    def is_done(self) -> bool:
        """Whether something has just happened."""
        return self.what.endswith(DONE)

    def __str__(self) -> str:
        return f"{self.what.removesuffix(DONE)}{f' in {self.caller}' if self.caller else ''}"


@dataclass
class Faults:
    """Counts the points of a run; kills it at one, or has the call at one fail with `number`."""

    kill_at: int = -1
    fail_at: int = -1
    number: int = 0
    seen: list[Point] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, what: str, caller: str = "") -> int:
        """A point is reached; the errno that the call there is to fail with, or 0."""
        with self._lock:
            at = len(self.seen)
            self.seen.append(Point(what, caller))
        if at == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        return self.number if at == self.fail_at else 0

    def around(self, what: str, work: Callable[[], Any], caller: str = "") -> Any:
        """Do what a call does, between two points; OSError if it is to fail."""
        if number := self.reach(what, caller):
            raise OSError(number, os.strerror(number))
        result = work()
        if self.fail_at < 0:
            self.reach(f"{what}: done", caller)
        return result


class Faulty:
    """A backend with a point before each batch and after each outcome."""

    def __init__(self, backend: Backend, faults: Faults) -> None:
        self._backend = backend
        self._faults = faults
        self.kinds = backend.kinds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        return self._each(f"create {batch[0].kind}", self._backend.create(batch, handles))

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        return self._each(f"update {batch[0][1].kind}", self._backend.update(batch, handles))

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        return self._each(f"delete {batch[0].kind}", self._backend.delete(batch, handles))

    def _each(self, what: str, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        self._faults.reach(what)
        for outcome in outcomes:
            self._faults.reach(f"{what} {outcome.id}: done", what)
            yield outcome


def disturb_journal(faults: Faults) -> None:
    """A point before and after each entry of the journal."""
    real = Store._transaction

    @contextlib.contextmanager
    def transaction(self: Store) -> Iterator[None]:
        faults.reach("entry")
        with real(self):
            yield
        faults.reach("entry: done")

    Store._transaction = transaction  # type: ignore[method-assign]


def disturb_calls(faults: Faults) -> None:
    """A point at each call that changes something on the machine, and that vtopo itself makes."""
    for name in (
        "mkdir",
        "mknod",
        "link",
        "symlink",
        "rename",
        "unlink",
        "rmdir",
        "setxattr",
        "chmod",
        "fchmod",
    ):
        _wrap(faults, os, name)
    for name in ("write", "pidfd_open"):
        _wrap(faults, os, name)
    _wrap(faults, os, "open", only=lambda path, flags, *_: bool(flags & (os.O_CREAT | os.O_WRONLY)))
    _wrap(faults, signal, "pidfd_send_signal")
    _wrap(faults, socket, "socketpair")
    _wrap(faults, zygotes._Zygote, "send", "wire")
    _wrap(faults, subprocess, "_fork_exec", "fork_exec")
    syscalls._libc = _Libc(faults, syscalls._libc)  # type: ignore[assignment]
    _disturb_netlink(faults)
    _disturb_engine(faults)


def _caller() -> str:
    """The innermost function of vtopo in the stack; empty if none is near."""
    frame = sys._getframe(2)
    for _ in range(12):
        if frame.f_globals.get("__name__", "").startswith("vtopo."):
            return f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def _wrap(
    faults: Faults,
    module: Any,
    name: str,
    call: str = "",
    only: Callable[..., bool] = lambda *_: True,
) -> None:
    real = getattr(module, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        caller = _caller()
        if not caller or not only(*args):
            return real(*args, **kwargs)
        what = " ".join([call or name, *(a for a in args[:2] if isinstance(a, str))])
        return faults.around(what, lambda: real(*args, **kwargs), caller)

    setattr(module, name, wrapped)


class _Libc:
    """The C library, whose calls fail as a system call does: with -1 and errno."""

    def __init__(self, faults: Faults, real: Any) -> None:
        self._faults = faults
        self._real = real

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*args: Any) -> int:
            what = " ".join([name, *(os.fsdecode(a) for a in args if isinstance(a, bytes))])
            if number := self._faults.reach(what, _caller()):
                ctypes.set_errno(number)
                return -1
            result: int = getattr(self._real, name)(*args)
            if self._faults.fail_at < 0:
                self._faults.reach(f"{what}: done")
            return result

        return call


def _disturb_engine(faults: Faults) -> None:
    """A point at each request to a Docker engine, by the library and by hand; one that is to fail never gets there."""
    by_library, by_hand = docker.APIClient.request, engine_wire.send

    def request(client: docker.APIClient, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if number := faults.reach(_request(method, url), _caller()):
            response = requests.Response()
            response.status_code = 500
            raise docker.errors.APIError("500", response, os.strerror(number))
        answer = by_library(client, method, url, *args, **kwargs)
        if faults.fail_at < 0:
            faults.reach(f"{_request(method, url)}: done", _caller())
        return answer

    def send(path: str, method: str, target: str, *args: Any, **kwargs: Any) -> Any:
        if number := faults.reach(_request(method, target), _caller()):
            raise engine_wire.EngineError(500, os.strerror(number))
        answer = by_hand(path, method, target, *args, **kwargs)
        if faults.fail_at < 0:
            faults.reach(f"{_request(method, target)}: done", _caller())
        return answer

    docker.APIClient.request = request
    engine_wire.send = send


def _request(method: str, url: str) -> str:
    """What is asked of an engine, without the names of what it is about."""
    path = re.sub(r"^\w+\+?\w*://[^/]*|/v1\.\d+(?=/)|\?.*|(?<=/containers)/(?!create|json)[^/?]+", "", url)
    return f"engine {method} {path}"


_HEADER = struct.Struct("=IHHII")
_NLMSG_ERROR, _BATCH_BEGIN, _ACK, _DUMP = 2, 0x10, 0x4, 0x300
_NETFILTER = 12  # the protocol whose message 0x10 begins a transaction; that of others is RTM_NEWLINK


def _disturb_netlink(faults: Faults) -> None:
    """A point at each message; one that is to fail never reaches the kernel, and its answer is made here."""

    class FaultySocket(socket.socket):
        answers: bytes = b""

        def send(self, data: bytes, *_: Any) -> int:  # type: ignore[override]
            allowed = [m for m in _messages(data) if not self._refused(m)]
            kept = b"".join(allowed)
            is_transaction = self.proto == _NETFILTER and _HEADER.unpack_from(data)[1] == _BATCH_BEGIN
            if len(kept) < len(data) and is_transaction:
                # All of a transaction is carried out, or nothing; who asked for an answer gets it.
                self.answers += b"".join(map(_answer, (m for m in allowed if m[6] & _ACK)))
                return len(data)
            if kept:
                super().send(kept)
                if faults.fail_at < 0:
                    faults.reach("netlink: done")
            return len(data)

        def _refused(self, message: bytes) -> bool:
            _, kind, flags, _, _ = _HEADER.unpack_from(message)
            # A dump changes nothing; it is refused as well, but not worth a kill.
            if flags & _DUMP == _DUMP and faults.fail_at < 0:
                return False
            number = faults.reach(f"netlink {kind}", _caller())
            if number:
                self.answers += _answer(message, number)
            return bool(number)

        def recv(self, *args: Any) -> bytes:  # type: ignore[override]
            if self.answers:
                data, self.answers = self.answers, b""
                return data
            return super().recv(*args)

    shim = types.SimpleNamespace(**{**vars(socket), "socket": FaultySocket})
    netlink_socket.socket = shim  # type: ignore[assignment]


def _answer(message: bytes, number: int = 0) -> bytes:
    """What the kernel says to a message."""
    body = struct.pack("=i", -number) + message[:16]
    sequence = _HEADER.unpack_from(message)[3]
    return _HEADER.pack(16 + len(body), _NLMSG_ERROR, 0x100, sequence, 0) + body


def _messages(data: bytes) -> Iterator[bytes]:
    while data:
        size = (_HEADER.unpack_from(data)[0] + 3) & ~3
        yield data[:size]
        data = data[size:]
