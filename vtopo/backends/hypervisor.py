"""The connection to libvirt: opened late, shared by threads, its errors in words that help."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vtopo.backends import guests
from vtopo.backends.base import BackendError

if TYPE_CHECKING:
    import libvirt

_START = "start it: systemctl start libvirtd (Debian package libvirt-daemon-system)"


CONNECT = "VTOPO_CONNECT"
"""The environment variable that says which libvirt has the VMs; `--connect` sets it."""


def chosen_uri() -> str:
    """What VTOPO_CONNECT says; empty if it says nothing."""
    return os.environ.get(CONNECT, "")


def default_uri() -> str:
    """What somebody chose, for vtopo or (LIBVIRT_DEFAULT_URI) for all that use libvirt; else the system's."""
    return chosen_uri() or os.environ.get("LIBVIRT_DEFAULT_URI") or "qemu:///system"


def unusable(uri: str) -> str | None:
    """Why VMs cannot be had of a libvirt, by its URI (https://libvirt.org/uri.html); None if nothing says so."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    here = "VMs need the system's libvirt on this machine, where their disks and links are: qemu:///system"
    if parts.netloc or transport not in ("", "unix"):
        return f"{uri} is a libvirt elsewhere; {here}"
    if driver != "qemu":
        return f"{uri} is no libvirt of QEMU's; {here}"
    if parts.path == "/session":
        return (
            f"{uri} is an ordinary user's libvirt: its QEMU is in the machine's own network namespace, where that "
            f"user can make no tap, so no link of a lab can be plugged into its guests; {here}"
        )
    return None if parts.path == "/system" else f"{uri} names no libvirt that vtopo knows; {here}"


class Hypervisor:
    """A libvirt on this machine, by its URI, or what finds that out when it is needed.

    `connection` connects on first use, and again once it has broken.
    """

    def __init__(self, uri: str | Callable[[], str] = default_uri) -> None:
        self._said = uri
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None
        self._owner: str | None = None

    @cached_property
    def uri(self) -> str:
        """Where it is."""
        return self._said if isinstance(self._said, str) else self._said()

    def connection(self) -> libvirt.virConnect:
        """An open connection; BackendError says what is missing."""
        with self._lock:
            if self._connection is None or not self.is_alive(self._connection):
                self._connection = self._open()
            return self._connection

    def is_alive(self, connection: libvirt.virConnect) -> bool:
        """Whether libvirt still answers on a connection."""
        libvirt = library()
        try:
            return bool(connection.isAlive())
        except libvirt.libvirtError:
            return False

    def _open(self) -> libvirt.virConnect:
        libvirt = library()
        if (reason := unusable(self.uri)) is not None:
            raise BackendError(reason)
        try:
            return libvirt.open(self.uri)
        except libvirt.libvirtError as e:
            raise BackendError(f"libvirt ({self.uri}) does not answer: {words(e)}; {_START}") from e

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                try:
                    self._connection.close()
                except library().libvirtError:
                    pass  # it was broken already
                self._connection = None

    def owner(self) -> str:
        """Whom QEMU runs as, `+uid:+gid`; empty where libvirt starts it as ourselves."""
        if self._owner is None:
            from xml.etree import ElementTree

            root = ElementTree.fromstring(self.connection().getCapabilities())  # noqa: S314  libvirt's own words
            found = ""
            for model in root.iterfind("host/secmodel"):
                if model.findtext("model") == "dac":
                    found = model.findtext("baselabel[@type='kvm']") or ""
            self._owner = found
        return self._owner

    @property
    def run_folder(self) -> Path:
        """Where libvirt keeps the pid file of each QEMU."""
        return guests.RUN


def library() -> Any:
    """The libvirt module, which prints nothing by itself; BackendError if it is not installed."""
    try:
        import libvirt
    except ImportError as e:
        raise BackendError(
            "VMs need the Python package libvirt-python, which is not installed: "
            "pip install 'vtopo[libvirt]' (it compiles against Debian's libvirt-dev)"
        ) from e
    libvirt.registerErrorHandler(_silent, None)
    return libvirt


def _silent(context: object, error: object) -> None:
    """Errors are raised; libvirt is not to print them as well."""


def words(error: Any) -> str:
    """What libvirt says went wrong, without its numbers, on one line."""
    text = error.get_error_message() or str(error)
    return " ".join(text.split())


@contextmanager
def unreachable_in_words(uri: str) -> Iterator[None]:
    """A libvirtError raised inside is a BackendError: libvirt went away in the middle."""
    libvirt = library()
    try:
        yield
    except libvirt.libvirtError as e:
        raise BackendError(f"libvirt ({uri}) failed: {words(e)}") from e
