"""libvirt for the tests: the one that answers already, or one that they start and stop again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

URI = "qemu:///system"
_PATIENCE = 60.0
_BUS = Path("/run/dbus/system_bus_socket")
_LOGGER = Path("/run/libvirt/virtlogd-sock")

# Nobody reaps orphans where a container's first process does not; libvirt then waits long for QEMU's probes.
_REAPER = ["tini", "-s", "--"] if shutil.which("tini") else []


def answers() -> bool:
    """Whether there is a libvirt."""
    import libvirt

    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError:
        return False
    return True


@dataclass
class Daemons:
    """libvirt's, as the tests found or started them; libvirtd comes last. None of somebody else's is ever ended."""

    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kill(self) -> None:
        """Have libvirtd die at once."""
        for pid in _children(self.started[-1].pid):
            os.kill(pid, signal.SIGKILL)
        self.started[-1].kill()
        self.started.pop().wait()

    def start(self) -> None:
        """Start it again."""
        self.started.append(_libvirtd())
        _wait()


def _children(pid: int) -> list[int]:
    """What a reaper runs."""
    text = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in text.read_text().split()] if text.exists() else []


@contextlib.contextmanager
def running() -> Iterator[Daemons]:
    """A libvirt that answers; the test is skipped where none can be had."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    if answers():
        yield Daemons()
        return
    programs = ("libvirtd", "virtlogd", "dbus-daemon", "qemu-system-x86_64", "qemu-img")
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    before = _cgroups()
    daemons = Daemons(list(_start()))
    try:
        _wait()
        yield daemons
    finally:
        for process in reversed(daemons.started):
            _stop(process)
        for folder in sorted(_cgroups() - before, reverse=True):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _wait() -> None:
    end = time.monotonic() + _PATIENCE
    while not answers():
        assert time.monotonic() < end, "libvirtd does not answer"
        time.sleep(0.1)


def _start() -> Iterator[subprocess.Popen[bytes]]:
    if not _listens(_BUS):
        _BUS.parent.mkdir(exist_ok=True)
        yield from _until_it_listens(["dbus-daemon", "--system", "--nofork", "--nopidfile"], _BUS)
    if not _listens(_LOGGER):
        yield from _until_it_listens([*_REAPER, "virtlogd"], _LOGGER)
    yield _libvirtd()


def _until_it_listens(command: list[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    yield _daemon(command)
    end = time.monotonic() + _PATIENCE
    while not _listens(path):
        assert time.monotonic() < end, f"{command[-1]} does not answer"
        time.sleep(0.05)


def _listens(path: Path) -> bool:
    """Whether somebody does: a daemon that was killed leaves its socket's file behind."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _libvirtd() -> subprocess.Popen[bytes]:
    return _daemon([*_REAPER, "libvirtd"])


def _daemon(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cgroups() -> set[str]:
    """libvirt's own folders of control groups, which it leaves."""
    found = set()
    for hierarchy in Path("/sys/fs/cgroup").glob("*/machine"):
        found.update(folder for folder, _, _ in os.walk(hierarchy))
    return found
