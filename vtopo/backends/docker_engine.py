"""The connection to the Docker engine of this machine: where it is, why it cannot be used, what it said in words."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtopo.backends import engine_wire
from vtopo.backends.base import BackendError
from vtopo.backends.docker_client import PATIENCE, SAID_NOTHING, WENT_AWAY, Client, EngineGone
from vtopo.values import dataclass

if TYPE_CHECKING:
    import docker

SOCKET = "/var/run/docker.sock"
AT_ONCE = 16
"""Requests at the same time: more start no container sooner."""
COMES_BACK = 15.0
"""Seconds that an engine may be away while its service manager starts it anew."""
_GLANCE = 5  # seconds that an engine may take to say what it has
_REMOTE = "an engine on another machine: a lab's links end in the containers' namespaces, so they must be on this one"


class Refused(BackendError):
    """The engine does not do what it was asked; the text says why, `status` is HTTP's.

    `errno` is ECANCELED where we gave up ourselves, since the run is to stop.
    """

    def __init__(self, text: str, status: int, errno: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.errno = errno


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine listens, and who says so."""

    url: str
    said_by: str = ""

    @property
    def path(self) -> str:
        """The socket; BackendError if the engine is not on this machine."""
        scheme, _, path = self.url.partition("://")
        if scheme != "unix":
            raise BackendError(f"{self.said_by} names {self.url}, {_REMOTE}")
        return path


def endpoint(environ: Mapping[str, str] | None = None) -> Endpoint:
    """Where docker(1) would look: DOCKER_HOST, else the context that is in use, else the usual socket."""
    environ = os.environ if environ is None else environ
    if host := environ.get("DOCKER_HOST"):
        return Endpoint(host if "://" in host else f"tcp://{host}", "DOCKER_HOST")
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/root", ".docker"))
    name = environ.get("DOCKER_CONTEXT") or _current_context(folder)
    if name in ("", "default"):
        return Endpoint(f"unix://{SOCKET}")
    return Endpoint(_context_host(folder, name), f"the Docker context `{name}`")


def _current_context(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "config.json").read_text()).get("currentContext") or "")
    return ""


def _context_host(folder: Path, name: str) -> str:
    for path in sorted(folder.glob("contexts/meta/*/meta.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            meta = json.loads(path.read_text())
            if meta["Name"] == name:
                return str(meta["Endpoints"]["docker"]["Host"])
    raise BackendError(
        f"there is no Docker context `{name}` in {folder}; `docker context use default` leaves it"
    )


def ask(path: str) -> Any:
    """What this machine's engine answers to `GET path`, without the library; None where none answers."""
    with contextlib.suppress(OSError, ValueError, BackendError):
        return engine_wire.ask(endpoint().path, "GET", path, patience=_GLANCE)
    return None


def connect() -> Client:
    """A client of this machine's engine; BackendError says why there is none and what to do."""
    where = endpoint()
    _knock(where.path)
    if importlib.util.find_spec("docker") is None:
        raise BackendError("containers need the Python package docker; pip install 'vtopo[docker]'")
    client = Client(where.path, lambda: _library(where))
    try:
        _must_be_ours(client, where)
    except Refused as e:
        raise _no_docker(where, e) from e
    return client


def _library(where: Endpoint) -> docker.APIClient:
    import docker
    from docker.errors import DockerException

    try:
        return docker.APIClient(
            base_url=where.url, version="auto", timeout=PATIENCE, max_pool_size=2 * AT_ONCE
        )
    except DockerException as e:
        raise _no_docker(where, e) from e


def _no_docker(where: Endpoint, error: Exception) -> BackendError:
    return BackendError(f"the engine at {where.path} does not answer as Docker does: {error}")


def _knock(path: str) -> None:
    """Whether somebody listens: the library's own words for that are a page long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(PATIENCE)
        try:
            knocking.connect(path)
        except FileNotFoundError as e:
            raise BackendError(
                f"there is no Docker engine here: no {path}; install it (Debian: apt-get install docker.io) "
                "or start it (systemctl start docker)"
            ) from e
        except ConnectionRefusedError as e:
            raise BackendError(
                f"the Docker engine is down: nobody listens at {path}; start it (systemctl start docker)"
            ) from e
        except OSError as e:
            raise BackendError(f"the Docker engine at {path} cannot be reached: {e.strerror}") from e


def _must_be_ours(client: Client, where: Endpoint) -> None:
    """BackendError if the socket leads to another machine, or to an engine that is not Docker's."""
    with words():
        version: dict[str, Any] = client.version()
    names = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    if any("podman" in name.lower() for name in names):
        raise BackendError(f"the engine at {where.path} is Podman: {_PODMAN}")
    if (kernel := version.get("KernelVersion")) not in (None, os.uname().release):
        raise BackendError(f"{where.path} leads to a machine of its own (Linux {kernel}): {_REMOTE}")


_PODMAN = (
    "its Docker-compatible interface does not change the limits of a container that runs (POST /containers/…/update); "
    "labs need Docker's own engine"
)


@contextlib.contextmanager
def words() -> Iterator[None]:
    """What the client raises, as Refused with the engine's words, or as EngineGone."""
    try:
        yield
    except BackendError:
        raise
    except engine_wire.EngineError as e:
        raise Refused(plain(str(e.strerror)), e.errno or 0) from e
    except Exception as e:
        told = _told(e) if "docker" in sys.modules else None
        if told is None:
            raise
        raise told from e


def _told(error: Exception) -> BackendError | None:
    """What the library has raised, as one of ours; None if it is none of its own."""
    import requests
    from docker.errors import APIError, BuildError, DockerException

    match error:
        case APIError():
            return Refused(plain(str(error.explanation or error)), error.status_code or 0)
        case BuildError():
            return Refused(plain(str(error)), 0)
        case requests.exceptions.Timeout():
            return EngineGone(SAID_NOTHING)
        case requests.exceptions.RequestException() | ConnectionError():
            return EngineGone(WENT_AWAY)
        case DockerException():
            return Refused(plain(str(error)), 0)
    return None


_NOISE = re.compile(
    r"^(Error response from daemon|Cannot (update|kill|stop|pause|unpause) container:? [0-9a-f]+|"
    r"OCI runtime (create|exec) failed|"
    r"runc create failed|exec failed|"
    r"runc did not terminate successfully: exit status \d+|failed to create (shim )?task( for container)?|"
    r"container_linux.go:\d+|unable to start container process|starting container process caused|"
    r"driver failed programming external connectivity on endpoint \S+ \([0-9a-f]+\)): ?"
)


def plain(text: str) -> str:
    """The engine's words without the names of the parts of it that they passed through."""
    text = text.strip().removesuffix(": unknown")
    while (shorter := _NOISE.sub("", text)) != text:
        text = shorter
    return " ".join(_ITSELF.sub("the container", text).split())


_ITSELF = re.compile(r"\b[Cc]ontainer [0-9a-f]{64}\b")


def wait_for(path: str) -> bool:
    """Whether an engine that went away is back soon."""
    end = time.monotonic() + COMES_BACK
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            if knocking.connect_ex(path) in (0, errno.EISCONN):
                return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.2)
