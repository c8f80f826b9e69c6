"""What is done to a node of a running lab on purpose: it stops and starts, it is paused, it is killed.

Of a host its daemons stop and start, and its interfaces stay. A container stops as a whole, its network with it, and
gets its links again when it starts. A VM is shut down and boots again on the links that stay (vm_faults.py).

The records stay as they are: what differs is drift, and `up` restores what it made.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from vtopo.backends import membership, names, processes
from vtopo.backends.base import Backend, BackendError, Handle
from vtopo.compile.resources import Container, Host, Ready, Run
from vtopo.run.interrupt import deferred
from vtopo.state.folder import StateDir
from vtopo.state.lock import Holder, locked
from vtopo.state.store import Records, Store

OnWait: TypeAlias = Callable[[Holder | None], None]
"""Who is told that another command works on the lab."""


def _ignore(_: Holder | None) -> None:
    """Nobody is."""


ACTIONS = {
    "stop": "stopped",
    "start": "started",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
    "kill": "killed",
}
"""What can be done to a node, and what it is then."""

_CLEANUP = 0.25  # seconds till the kernel has taken its interfaces away; nothing tells when
_GONE = 5.0  # seconds that a killed host may take to end


def act(
    lab: str,
    node: str,
    action: str,
    backends: Callable[[], Sequence[Backend]],
    state: StateDir,
    on_wait: OnWait = _ignore,
) -> int:
    """Do one of ACTIONS to a node of a running lab; how many daemons a host or container has besides.

    `backends` makes the lab's: a host needs none, and they take long to import.
    BackendError if it is not there or does not do it; FileNotFoundError without records.
    """
    with locked(state, lab, None, on_wait), deferred():
        with Store.open(state, lab) as store:
            records = store.load()
        if f"{node}/domain" in records.resources:
            from vtopo.run import vm_faults

            vm_faults.act(node, action, records, backends())
            return 0
        container = records.resources.get(f"{node}/{Container.kind}")
        if container is None:
            return _act_on_host(lab, node, action, records)
        assert isinstance(container, Container)
        runs = _runs(node, records)
        _act_on_container(lab, container, action, runs)
    if action in ("start", "restart"):
        from vtopo.run import replug

        replug.start(lab, node, backends(), state)
    return len(runs)


def _act_on_container(lab: str, container: Container, action: str, runs: Sequence[Run]) -> None:
    from vtopo.backends.docker_backend import DockerBackend
    from vtopo.backends.life import LifeBackend

    if action in ("stop", "restart") and runs:
        with contextlib.suppress(
            BackendError
        ):  # without a supervisor they end with the container all the same
            LifeBackend(lab).hold(runs)
    if action != "start":
        DockerBackend(lab).disturb(container, "stop" if action == "restart" else action)


def _act_on_host(lab: str, node: str, action: str, records: Records) -> int:
    handle = records.handles.get(f"{node}/host", Handle())
    if not processes.is_alive(handle):
        raise BackendError(f"`{node}` does not run; `vtopo up` makes it again")
    if action == "kill":
        _kill(node, handle, records)
    elif action in ("pause", "resume"):
        membership.pause(handle, paused=action == "pause")
    else:
        return _daemons(lab, node, action, handle, records)
    return 0


def _kill(node: str, handle: Handle, records: Records) -> None:
    """As if its power had failed: its name alone would keep its interfaces alive, and they would answer."""
    host = records.resources.get(f"{node}/host")
    if isinstance(host, Host):
        list(names.drop([host.name]))
    init = handle.pid or 0
    victims = [handle, *(membership.processes(init) if not membership.is_first(init) else ())]
    waiting = processes.kill(victims, signal.SIGKILL)
    ended = list(processes.wait(waiting, _GONE))
    processes.close_all(waiting)
    time.sleep(_CLEANUP)
    if handle not in ended:
        raise BackendError(f"`{node}` does not end within {_GONE:g} s of SIGKILL")


def _daemons(lab: str, node: str, action: str, handle: Handle, records: Records) -> int:
    from vtopo.backends.life import LifeBackend

    life = LifeBackend(lab)
    runs = _runs(node, records)
    ready = [r for r in records.resources.values() if isinstance(r, Ready) and r.node == node]
    since = {f"{node}/{name}": size for name, size in life.logs.sizes(node).items()}
    if action != "start":
        life.stop(handle, runs)
    failed = list(life.start(runs, ready, records.handles, since)) if action != "stop" else []
    if failed:
        raise BackendError(f"{node}: {failed[0].reason}")
    return len(runs)


def _runs(node: str, records: Records) -> Sequence[Run]:
    return [r for r in records.resources.values() if isinstance(r, Run) and r.node == node]
