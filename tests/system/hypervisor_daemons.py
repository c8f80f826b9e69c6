"""libvirt for the tests: the one that answers already, or one that they start and stop again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

URI = "qemu:///system"
_PATIENCE = 60.0


def answers() -> bool:
    """Whether there is a libvirt."""
    import libvirt

    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError:
        return False
    return True


@contextlib.contextmanager
def running() -> Iterator[None]:
    """A libvirt that answers; the test is skipped where none can be had."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    if answers():
        yield
        return
    programs = ("libvirtd", "virtlogd", "dbus-daemon", "qemu-system-x86_64", "qemu-img")
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    before = _cgroups()
    started = list(_start())
    try:
        end = time.monotonic() + _PATIENCE
        while not answers():
            assert time.monotonic() < end, "libvirtd does not answer"
            time.sleep(0.1)
        yield
    finally:
        for process in reversed(started):
            _stop(process)
        for folder in sorted(_cgroups() - before, reverse=True):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _start() -> Iterator[subprocess.Popen[bytes]]:
    # Nobody reaps orphans where a container's first process does not; libvirt then waits long for QEMU's probes.
    reaper = ["tini", "-s", "--"] if shutil.which("tini") else []
    if not Path("/run/dbus/system_bus_socket").exists():
        Path("/run/dbus").mkdir(exist_ok=True)
        yield _daemon(["dbus-daemon", "--system", "--nofork", "--nopidfile"])
        end = time.monotonic() + _PATIENCE
        while not Path("/run/dbus/system_bus_socket").exists() and time.monotonic() < end:
            time.sleep(0.05)
    if not Path("/run/libvirt/virtlogd-sock").exists():
        yield _daemon([*reaper, "virtlogd"])
    yield _daemon([*reaper, "libvirtd"])


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
