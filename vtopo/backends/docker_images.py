"""Images: there, pulled or built, each once however many containers want it."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from vtopo.backends import docker_marks
from vtopo.backends.base import Transfer, Watch
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import Refused, plain, words
from vtopo.compile.docker_spec import labels
from vtopo.compile.resources import Container
from vtopo.values import dataclass

OnTransfer = Callable[[Transfer], None]


class Images:
    """The images that a lab's containers start from."""

    def __init__(self, client: Client, lab: str, watch: Watch, on_transfer: OnTransfer) -> None:
        self._client = client
        self._lab = lab
        self._watch = watch
        self._on_transfer = on_transfer
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._ready: set[str] = set()

    def ensure(self, r: Container) -> None:
        """Have the container's image; Refused if there is none to have."""
        with self._locks[r.image]:
            if r.image in self._ready:
                return
            if r.build is not None:
                self._build(r.image, r.build.context)
            elif r.pull == "always" or not is_there(self._client, r.image):
                if r.pull == "never":
                    raise Refused(missing(r.image), 404)
                self._pull(r.image)
            self._ready.add(r.image)

    def remove(self, tag: str) -> None:
        """Remove an image that was built for the lab; while another container uses it, it stays."""
        if tag in docker_marks.images(self._client, self._lab):
            with contextlib.suppress(Refused), words():
                self._client.remove_image(tag)

    def _pull(self, image: str) -> None:
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        self._on_transfer(Transfer(f"pulling {image}"))
        layers = _Layers()
        try:
            with words():
                events = self._client.pull(repository, tag=tag or "latest", stream=True, decode=True)
                for event in events:
                    self._heed(event)
                    if layers.learn(event):
                        self._on_transfer(Transfer(f"pulling {image}", layers.done, layers.total))
        except Refused as e:
            raise Refused(f"the image {image} cannot be pulled: {e}", e.status, e.errno) from e
        self._on_transfer(Transfer(f"pulling {image}", finished=True))

    def _heed(self, event: Mapping[str, Any]) -> None:
        """Refused if the stream of a request that began well tells of a failure, or if the run is to stop."""
        if error := event.get("error"):
            raise Refused(plain(str(error)), 0)
        if self._watch.stop.is_set():
            raise Refused("given up, as the run stops", 0, errno.ECANCELED)

    def _build(self, image: str, context: str) -> None:
        if is_there(self._client, image):  # its tag is the hash of what it is built from
            return
        self._on_transfer(Transfer(f"building {context}"))
        said: list[str] = []
        try:
            with words():
                events = self._client.build(
                    path=context, tag=image, labels=labels(self._lab), rm=True, forcerm=True, decode=True
                )
                for event in events:
                    self._heed(event)
                    said += [line for line in str(event.get("stream", "")).splitlines() if line.strip()]
        except (Refused, OSError, TypeError) as e:
            last = "".join(f"\n  {line}" for line in said[-5:])
            stopped = e.errno if isinstance(e, Refused) else 0
            raise Refused(f"the build of {context} failed: {e}{last}", 0, stopped) from e
        self._on_transfer(Transfer(f"building {context}", finished=True))


@dataclass(slots=True)
class _Layers:
    """The layers of a pull by their progress."""

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def learn(self, event: Mapping[str, Any]) -> bool:
        """Whether the event says how far a layer's download is."""
        detail = event.get("progressDetail") or {}
        if event.get("status") != "Downloading" or "total" not in detail:
            return False
        self.sizes[str(event.get("id"))] = int(detail.get("current", 0)), int(detail["total"])
        return True

    @property
    def done(self) -> int:
        return sum(done for done, _ in self.sizes.values())

    @property
    def total(self) -> int:
        return sum(total for _, total in self.sizes.values())


def is_there(client: Client, image: str) -> bool:
    """Whether the engine has an image."""
    return config(client, image) is not None


def config(client: Client, image: str) -> Mapping[str, Any] | None:
    """What an image that is there says of itself; None if it is not there."""
    try:
        with words():
            found: Mapping[str, Any] = client.inspect_image(image).get("Config") or {}
            return found
    except Refused as e:
        if e.status == 404:
            return None
        raise


def missing(image: str) -> str:
    """There is no such image, and none is to be fetched."""
    return (
        f"there is no image {image} here, and `pull never` has none fetched; "
        "`docker pull` or `docker build` it, or write `pull missing`"
    )
