"""A client of a Docker engine: the requests that every run makes by hand, all others by the library.

The library takes a third of a second to load, and longer for a request than many an engine for its answer.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vtopo.backends import engine_wire
from vtopo.backends.base import BackendError

if TYPE_CHECKING:
    import docker

PATIENCE = 300
"""Seconds that one request may take."""


class EngineGone(BackendError):
    """The engine was there and does not answer any more: what became of the request is not known."""


WENT_AWAY = "the Docker engine went away; is it down? (systemctl status docker)"
SAID_NOTHING = f"the Docker engine did not answer within {PATIENCE} s"


class Client:
    """The library's client of the engine at a socket, `library`, and what is quicker without it.

    What the engine refuses is an EngineError; an engine that does not answer, EngineGone.
    """

    def __init__(self, path: str, library: Callable[[], docker.APIClient]) -> None:
        self._path = path
        self._make = library
        self._lock = threading.Lock()
        self._library: docker.APIClient | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._library is None:
                self._library = self._make()
        return getattr(self._library, name)

    def version(self) -> Any:
        """GET /version."""
        return self._ask("GET", "/version")

    def info(self) -> Any:
        """GET /info."""
        return self._ask("GET", "/info")

    def containers(self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> Any:
        """Those that run, or all."""
        return self._ask("GET", "/containers/json", all=int(all), filters=json.dumps(filters or {}))

    def inspect_container(self, container: str) -> Any:
        """What there is to tell of one."""
        return self._ask("GET", f"/containers/{urllib.parse.quote(container)}/json")

    def create_container_from_config(self, body: Mapping[str, object], name: str) -> Any:
        """A new one that does not run; its id and warnings."""
        given = {key: value for key, value in body.items() if value is not None}
        return self._ask("POST", "/containers/create", given, name=name)

    def start(self, container: str) -> None:
        """Have one run."""
        self._ask("POST", f"/containers/{urllib.parse.quote(container)}/start")

    def inspect_image(self, image: str) -> Any:
        """What there is to tell of an image."""
        return self._ask("GET", f"/images/{urllib.parse.quote(image, safe='/:@')}/json")

    def volumes(self, filters: Mapping[str, Sequence[str]] | None = None) -> Any:
        """All, or some."""
        return self._ask("GET", "/volumes", filters=json.dumps(filters or {}))

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Any:
        """A new one, or the one that has the name."""
        return self._ask("POST", "/volumes/create", {"Name": name, "Labels": dict(labels)})

    def _ask(self, method: str, target: str, body: object = None, **query: object) -> Any:
        if query:
            target += f"?{urllib.parse.urlencode(query)}"
        try:
            return engine_wire.ask(self._path, method, target, body, patience=PATIENCE)
        except TimeoutError as e:
            raise EngineGone(SAID_NOTHING) from e
        except OSError as e:
            if isinstance(e, engine_wire.EngineError) and e.errno is not None:
                raise
            raise EngineGone(WENT_AWAY) from e
