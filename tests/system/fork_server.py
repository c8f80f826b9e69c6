"""Commands without their start: each runs in a process forked from one that has imported vtopo and done nothing else.

Most of a short command's time is Python's start and imports, and the tests run thousands. A fork differs from a process
of its own in that alone. Still started as users start them are those that a test starts rather than calls, those with
an environment of their own or in another world, and those of test_lab and of the documents.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LARGEST = 1 << 17
"""Bytes of a request; the environment is most of it."""
_NUMBER = struct.Struct("=i")


class ForkServer:
    """The process that forks. `run` may be called from any thread, and from forks of this process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folders = [str(ROOT), str(Path(__file__).parent)]
        code = f"import sys; sys.path[:0] = {folders}; import fork_server; fork_server.serve()"
        self._socket = ours
        environ = {key: value for key, value in os.environ.items() if key != "VTOPO_FROZEN"}
        self._process = subprocess.Popen([sys.executable, "-P", "-c", code], stdin=theirs, env=environ)
        theirs.close()
        assert ours.recv(1) == b"."

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def run(
        self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], given: bytes, seconds: float
    ) -> tuple[int, bytes, bytes]:
        """A command's status (negative: the signal that ended it), output and errors; TimeoutExpired if it was killed,
        since it took longer than `seconds`."""
        pipes = [os.pipe() for _ in range(4)]
        (stdin, feed), (out, stdout), (err, stderr), (told, tell) = pipes
        request = json.dumps([list(argv), str(cwd), dict(environ)]).encode()
        socket.send_fds(self._socket, [request], [stdin, stdout, stderr, tell])
        for fd in (stdin, stdout, stderr, tell):
            os.close(fd)
        found: dict[int, bytearray] = {out: bytearray(), err: bytearray(), told: bytearray()}
        try:
            _exchange(feed, given, found, seconds)
        except TimeoutError:
            if len(found[told]) >= _NUMBER.size:
                os.kill(_NUMBER.unpack_from(found[told])[0], signal.SIGKILL)
            raise subprocess.TimeoutExpired(
                list(argv), seconds, bytes(found[out]), bytes(found[err])
            ) from None
        finally:
            for fd in found:
                os.close(fd)
        _, status = struct.unpack("=ii", found[told])
        return os.waitstatus_to_exitcode(status), bytes(found[out]), bytes(found[err])


def _exchange(feed: int, given: bytes, found: dict[int, bytearray], seconds: float) -> None:
    """Writes all that is given, and reads each of the others to its end; TimeoutError."""
    end = time.monotonic() + seconds
    os.set_blocking(feed, False)
    with selectors.DefaultSelector() as waiting:
        for fd in found:
            waiting.register(fd, selectors.EVENT_READ)
        waiting.register(feed, selectors.EVENT_WRITE)
        while waiting.get_map():
            ready = waiting.select(end - time.monotonic())
            if not ready and time.monotonic() >= end:
                if feed in waiting.get_map():
                    os.close(feed)
                raise TimeoutError
            for key, _ in ready:
                if key.fd != feed:
                    part = os.read(key.fd, 1 << 16)
                    found[key.fd] += part
                    if not part:
                        waiting.unregister(key.fd)
                    continue
                with contextlib.suppress(BrokenPipeError):
                    given = given[os.write(feed, given) :] if given else given
                    if given:
                        continue
                waiting.unregister(feed)
                os.close(feed)


def serve() -> None:
    """Forks until the other end of stdin closes."""
    import_all()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command is a fork in between
    with socket.socket(fileno=os.dup(0)) as asked:
        asked.send(b".")
        while True:
            request, fds, _, _ = socket.recv_fds(asked, _LARGEST, 4)
            if not request:
                return
            if os.fork() == 0:
                asked.close()
                _run(json.loads(request), fds)
            for fd in fds:
                os.close(fd)


def import_all() -> None:
    """Import all of vtopo, and what it imports late."""
    import vtopo

    for module in pkgutil.walk_packages(vtopo.__path__, "vtopo."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of what only some machines have
                importlib.import_module(module.name)
    for name in ("docker", "libvirt", "pyroute2.netlink.rtnl.ifinfmsg", "pyroute2.netlink.rtnl.ndmsg"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _run(request: tuple[list[str], str, dict[str, str]], fds: list[int]) -> None:
    """Forks the command, and tells its number and then its status; never returns."""
    *standard, told = fds
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        pid = os.fork()
        if pid == 0:
            _command(request, standard)
        for fd in (0, *standard):
            os.close(fd)
        os.write(told, _NUMBER.pack(pid))
        os.write(told, _NUMBER.pack(os.waitpid(pid, 0)[1]))
    finally:
        os._exit(0)


def _command(request: tuple[list[str], str, dict[str, str]], standard: list[int]) -> None:
    """What `python -m vtopo` does, in this process; never returns."""
    argv, cwd, environ = request
    try:
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
        os.closerange(3, 64)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.stderr.reconfigure(errors="backslashreplace", line_buffering=True)
        sys.argv = [str(ROOT / "vtopo" / "__main__.py"), *argv]
        from vtopo.cli.entry import main

        main()
    finally:
        os._exit(99)
