"""What is done to a VM of a running lab on purpose: it is paused, shut down, switched off, started again.

Its links stay where they are: only what dies with the guest's machine is made anew. The records stay as they are,
so that what differs is drift, and `up` restores what it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vtopo.backends.base import Backend, BackendError, Failed
from vtopo.backends.domains import DomainBackend
from vtopo.backends.later import loaded
from vtopo.compile.resources import Domain, GuestReady, Power, Resource, Tap
from vtopo.run.backends import Backends
from vtopo.state.store import Records

_MADE = (Domain, Tap, Power, GuestReady)
"""What a start makes, in this order."""


def act(node: str, action: str, records: Records, backends: Sequence[Backend]) -> None:
    """Do one of `node_faults.ACTIONS` to a VM; BackendError if it does not do it."""
    machine = _Machine(node, records, Backends(backends))
    actions: dict[str, Callable[[], None]] = {
        "pause": lambda: machine.run(False),
        "resume": lambda: machine.run(True),
        "kill": lambda: machine.end(gently=False),
        "stop": lambda: machine.end(gently=True),
        "start": machine.start,
    }
    for each in ("stop", "start") if action == "restart" else (action,):
        actions[each]()


class _Machine:
    """One VM."""

    def __init__(self, node: str, records: Records, known: Backends) -> None:
        self._node = node
        self._records = records
        self._known = known
        domain, backend = records.resources[f"{node}/domain"], loaded(known.of(Domain.kind))
        assert isinstance(domain, Domain)
        assert isinstance(backend, DomainBackend)
        self._domain = domain
        self._backend = backend

    def run(self, on: bool) -> None:
        """Let the guest run, or hold it."""
        if not self._is_there():
            raise BackendError(f"`{self._node}` is off; `vtopo node {self._node} start` starts it")
        self._make([Power(id="", name=self._domain.name, state="running" if on else "paused")])

    def end(self, *, gently: bool) -> None:
        """Switch it off; gently, it may shut down first."""
        if not self._is_there():
            raise BackendError(f"`{self._node}` is off already; `vtopo node {self._node} start` starts it")
        self._backend.switch_off(self._domain, gently=gently)

    def start(self) -> None:
        """Make what went with its end, and wait until it is ready; one that is held goes on."""
        if self._is_there():
            return self.run(True)
        own = [r for r in self._records.resources.values() if isinstance(r, _MADE)]
        own = [r for r in own if r is self._domain or self._domain.id in r.needs]
        try:
            for kind in _MADE:
                self._make([r for r in own if isinstance(r, kind)])
        except BaseException:
            if self._is_there():
                self._backend.switch_off(self._domain, gently=False)
            raise
        return None

    def _is_there(self) -> bool:
        return bool(self._backend.observe([self._domain], self._records.handles))

    def _make(self, batch: Sequence[Resource]) -> None:
        if not batch:
            return
        for outcome in self._known.of(batch[0].kind).create(batch, self._records.handles):
            if isinstance(outcome, Failed):
                raise BackendError(f"{self._node}: {outcome.reason}")
