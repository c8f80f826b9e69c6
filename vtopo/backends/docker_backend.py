"""The backend of containers and volumes: batches side by side, found by marks, gone with the lab."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import MappingProxyType
from typing import Any, TypeVar

from vtopo.backends import docker_containers, docker_engine, docker_marks, docker_observe, docker_unable
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Watch, Weigh, Weight
from vtopo.backends.docker_client import Client, EngineGone
from vtopo.backends.docker_containers import Containers
from vtopo.backends.docker_engine import AT_ONCE, Refused, words
from vtopo.backends.docker_images import Images, OnTransfer
from vtopo.compile.docker_spec import LAB, labels
from vtopo.compile.resources import Container, Resource, Volume

T = TypeVar("T")
U = TypeVar("U")


class DockerBackend:
    """Containers and volumes of one lab, on this machine's engine, which is first spoken to when it is needed."""

    kinds = frozenset({"volume", "container"})
    slow: Mapping[str, Weigh] = MappingProxyType({"container": lambda _: Weight(cpu=2 / AT_ONCE)})

    def __init__(self, lab: str, watch: Watch | None = None, on_transfer: OnTransfer | None = None) -> None:
        self.lab = lab
        self._watch = watch or Watch()
        self._on_transfer = on_transfer or self._watch.transfers.put
        self._lock = threading.Lock()
        self._engine: Client | None = None
        self._ids: Mapping[str, str] | None = None
        self._images: Images | None = None

    @property
    def _client(self) -> Client:
        with self._lock:
            if self._engine is None:
                self._engine = docker_engine.connect()
                self._images = Images(self._engine, self.lab, self._watch, self._on_transfer)
            return self._engine

    @property
    def _containers(self) -> Containers:
        client = self._client
        assert self._images is not None
        return Containers(client, self.lab, self._images)

    # Looking

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What there is: containers by their marks, whatever their state, with the limits that they have now."""
        found: dict[str, Present] = {}
        try:
            if volumes := [r for r in recorded if isinstance(r, Volume)]:
                there = docker_marks.volumes(self._client, self.lab)
                found.update({r.id: Present(r) for r in volumes if r.name in there})
            if containers := [r for r in recorded if isinstance(r, Container)]:
                found.update(self._seen(containers, handles))
        except Refused as e:
            raise BackendError(f"the Docker engine does not tell what there is of lab {self.lab}: {e}") from e
        return found

    def _seen(self, recorded: Sequence[Container], handles: Mapping[str, Handle]) -> dict[str, Present]:
        told = self._inspect_all()
        alive = {
            each["Name"].removeprefix("/"): docker_observe.handle_of(int(each["State"]["Pid"]))
            for each in told.values()
        }
        there = [r for r in recorded if r.node in told]
        containers = self._containers

        def seen(r: Container) -> Present:
            return containers.seen(r, told[r.node], handles.get(r.id), alive.get(r.network_of or ""))

        return {r.id: present for r, present in zip(there, _together(there, seen), strict=True)}

    def _inspect_all(self) -> dict[str, dict[str, Any]]:
        """What Docker tells of the lab's containers, by node."""
        ours = docker_marks.containers(self._client, self.lab)
        containers = self._containers
        told = _together(ours, lambda known: containers.inspect(known.id))
        return {known.node: each for known, each in zip(ours, told, strict=True) if each is not None}

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Without an engine all of them; with one, what it or the machine cannot do, or has no room for."""
        if not batch:
            return
        try:
            yield from docker_unable.unable(self._client, self.lab, batch)
        except BackendError as e:
            yield from (Failed(r.id, str(e)) for r in batch)

    # Doing

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Create and start each."""
        return self._each(batch, self._create)

    def _create(self, r: Resource) -> Outcome:
        self._ids = None
        try:
            if isinstance(r, Container):
                return Done(r.id, self._containers.make(r))
            assert isinstance(r, Volume)
            self._make_volume(r)
        except Refused as e:
            return Failed(r.id, str(e), e.errno)
        return Done(r.id)

    def _make_volume(self, r: Volume) -> None:
        with words():
            made = self._client.create_volume(name=r.name, labels=labels(self.lab))
        if (made.get("Labels") or {}).get(LAB) != self.lab:
            raise Refused(f"there is a Docker volume {r.name} that is not vtopo's", 409)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change containers in place; a volume has nothing to change."""
        return self._each(batch, lambda pair: self._update(*pair))

    def _update(self, old: Resource, new: Resource) -> Outcome:
        assert isinstance(old, Container) and isinstance(new, Container)
        try:
            return Done(new.id, self._containers.change(old, new))
        except Refused as e:
            return Failed(new.id, str(e))

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Remove each; an engine that goes away meanwhile is waited for, since it may just be started anew."""
        return self._each(batch, self._delete)

    def _delete(self, r: Resource) -> Outcome:
        try:
            if isinstance(r, Container):
                _patiently(lambda: self._take_away(r))
            else:
                assert isinstance(r, Volume)
                _patiently(lambda: self._remove_volume(r.name))
        except Refused as e:
            return Failed(r.id, str(e))
        return Done(r.id)

    def _take_away(self, r: Container) -> None:
        """Remove a container; without the library where that does, which takes as long to load as some to end."""
        with self._lock:
            if self._ids is None:
                self._ids = docker_marks.ids(self.lab)
            id_ = self._ids.get(r.node)
        if r.build is not None or id_ is None or not docker_containers.remove_at_once(r, id_):
            self._containers.take_away(r)

    def _remove_volume(self, name: str) -> None:
        if name not in docker_marks.volumes(self._client, self.lab):
            return
        try:
            with words():
                self._client.remove_volume(name)
        except Refused as e:
            if e.status != 404:
                raise

    def _each(self, batch: Sequence[T], work: Callable[[T], Outcome]) -> Iterator[Outcome]:
        """The outcome of each as it is known; EngineGone at the end if that came of any."""
        if len(batch) == 1:
            yield work(batch[0])
            return
        gone: EngineGone | None = None
        with ThreadPoolExecutor(AT_ONCE, "vtopo-docker") as pool:
            for future in as_completed([pool.submit(work, each) for each in batch]):
                try:
                    yield future.result()
                except EngineGone as e:
                    gone = e
        if gone is not None:
            raise gone

    def disturb(self, r: Container, action: str) -> None:
        """Stop, kill, pause or resume a container on purpose; BackendError if it does not do that."""
        try:
            self._containers.disturb(r, action)
        except Refused as e:
            raise BackendError(f"`{r.node}`: {e}") from e

    # By marks alone

    def traces(self) -> Sequence[str]:
        """The lab's containers and volumes, whatever their state."""
        return docker_marks.glance(self.lab)

    def sweep(self) -> Sequence[str]:
        """Remove all of this lab that this machine's engine has; nothing where none answers."""
        try:
            client = self._client
        except BackendError:
            return []
        removed: list[str] = []
        try:
            while ours := docker_marks.containers(client, self.lab):
                _together(ours, lambda known: _patiently(lambda: self._containers.remove(known.id)))
                removed += [f"container {known.name}" for known in ours]
            for volume in docker_marks.volumes(client, self.lab):
                self._remove_volume(volume)
                removed.append(f"volume {volume}")
            assert self._images is not None
            for tag in docker_marks.images(client, self.lab):
                self._images.remove(tag)
                removed.append(f"image {tag}")
        except Refused as e:
            raise BackendError(f"lab {self.lab}: not all of it can be removed from Docker: {e}") from e
        return removed


def _together(items: Sequence[T], work: Callable[[T], U]) -> list[U]:
    with ThreadPoolExecutor(AT_ONCE, "vtopo-docker") as pool:
        return list(pool.map(work, items))


def _patiently(work: Callable[[], None]) -> None:
    """Do it, and again after the engine has come back if it goes away."""
    while True:
        try:
            return work()
        except EngineGone:
            if not docker_engine.wait_for(docker_engine.endpoint().path):
                raise
