"""A VM's serial console: what is typed goes in, what the guest prints comes out, until Ctrl-] or the guest's end."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from xml.etree import ElementTree

from vtopo.backends.base import BackendError
from vtopo.backends.hypervisor import Hypervisor, library, words

ESCAPE = 0x1D
"""Ctrl-], as in virsh(1) and telnet(1)."""

_CHUNK = 4096


def attach(hypervisor: Hypervisor, name: str) -> int:
    """Connect standard input and output with the console of a domain; 0 once the user has had enough.

    At the end of an input that is no terminal, what the guest still prints is shown for as long as it goes on.
    """
    console = os.open(_terminal(hypervisor, name), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        with _raw(console), _raw(sys.stdin.fileno()):
            _carry(console, sys.stdin.fileno(), sys.stdout.fileno())
    finally:
        os.close(console)
    return 0


def _terminal(hypervisor: Hypervisor, name: str) -> str:
    libvirt = library()
    try:
        root = ElementTree.fromstring(  # noqa: S314  libvirt's own words
            hypervisor.connection().lookupByName(name).XMLDesc()
        )
    except libvirt.libvirtError as e:
        raise BackendError(f"the VM is not running: {words(e)}; `vtopo up` starts it again") from e
    source = root.find("devices/console/source")
    path = source.get("path", "") if source is not None else ""
    if not path.startswith("/dev/pts/"):
        raise BackendError("the VM has no serial console")
    return path


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Every byte as it comes, if it is a terminal; as it was afterwards."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _carry(console: int, source: int, target: int) -> None:
    poll = select.poll()
    poll.register(console, select.POLLIN)
    poll.register(source, select.POLLIN)
    quiet: int | None = None  # milliseconds of silence that end it, once the input has ended
    while ready := dict(poll.poll(quiet)):
        if console in ready:
            try:
                said = os.read(console, _CHUNK)
            except OSError:  # EIO: the guest, and with it the other end, is gone
                return
            if not said:
                return
            os.write(target, said)
        if source in ready:
            typed = os.read(source, _CHUNK)
            before, escape, _ = typed.partition(bytes((ESCAPE,)))
            _write(console, before)
            if escape:
                return
            if not typed:
                poll.unregister(source)
                quiet = 1000


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
