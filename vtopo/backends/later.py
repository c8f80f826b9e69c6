"""A backend that is loaded only when it is first asked for something: most labs need few of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from vtopo.backends.base import Backend, Failed, Outcome, Present, Weigh, Weight
from vtopo.backends.handle import Handle
from vtopo.compile.resources import Resource


class Later:
    """Stands for the backend that `load` makes, whose kinds and slow kinds are known before; for several threads.

    With `traces`, what bears this lab's marks is found without it.
    """

    def __init__(
        self,
        kinds: Collection[str],
        load: Callable[[], Backend],
        slow: Collection[str] = (),
        traces: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self.kinds = frozenset(kinds)
        self.slow: Mapping[str, Weigh] = dict.fromkeys(slow, self._weigh)
        self._load = load
        self._traces = traces
        self._lock = threading.Lock()
        self._loaded: Backend | None = None

    @property
    def backend(self) -> Backend:
        """The backend itself."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
                assert self._loaded.kinds == self.kinds
                assert self._loaded.slow.keys() == self.slow.keys()
            return self._loaded

    def _weigh(self, resource: Resource) -> Weight:
        return self.backend.slow[resource.kind](resource)

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What exists of the recorded."""
        return self.backend.observe(recorded, handles)

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Those of a batch that this machine cannot do."""
        return self.backend.unable(batch)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make each resource."""
        return self.backend.create(batch, handles)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change each in place."""
        return self.backend.update(batch, handles)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Remove each resource."""
        return self.backend.delete(batch, handles)

    def traces(self) -> Sequence[str]:
        """What carries this lab's marks now."""
        return self.backend.traces() if self._traces is None else self._traces()

    def sweep(self) -> Sequence[str]:
        """Remove all that carries this lab's marks."""
        return self.backend.sweep()


def loaded(backend: Backend) -> Backend:
    """What may stand for a backend, or the backend itself."""
    return backend.backend if isinstance(backend, Later) else backend
