"""What is done to a host of a running lab on purpose: its daemons stop and start, it is paused, it is killed.

The records stay as they are: what differs is drift, and `up` restores what it made.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vtopo.backends import membership, names, processes
from vtopo.backends.base import BackendError, Handle
from vtopo.compile.resources import Host
from vtopo.run.interrupt import deferred
from vtopo.state.folder import StateDir
from vtopo.state.store import Records, Store

if TYPE_CHECKING:
    from vtopo.compile.resources import Resource

ACTIONS = {
    "stop": "stopped",
    "start": "started",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
    "kill": "killed",
}
"""What can be done to a host, and what it is then."""

_CLEANUP = 0.25  # seconds till the kernel has taken its interfaces away; nothing tells when
_GONE = 5.0  # seconds that a killed host may take to end


def act(state: StateDir, lab: str, node: str, action: str, lock: AbstractContextManager[None]) -> int:
    """Do one of ACTIONS to a host of a running lab, under its `lock`; how many daemons it has.

    BackendError if the host is not there or does not do it; FileNotFoundError without records.
    """
    with lock, deferred():
        with Store.open(state, lab) as store:
            records = store.load()
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
    waiting = processes.kill([handle], signal.SIGKILL)
    ended = list(processes.wait(waiting, _GONE))
    processes.close_all(waiting)
    time.sleep(_CLEANUP)
    if not ended:
        raise BackendError(f"`{node}` does not end within {_GONE:g} s of SIGKILL")


def _daemons(lab: str, node: str, action: str, handle: Handle, records: Records) -> int:
    from vtopo.backends.life import LifeBackend
    from vtopo.compile.resources import Ready, Run

    life = LifeBackend(lab)
    mine: Sequence[Resource] = [r for r in records.resources.values() if getattr(r, "node", None) == node]
    runs = [r for r in mine if isinstance(r, Run)]
    ready = [r for r in mine if isinstance(r, Ready)]
    since = {f"{node}/{name}": size for name, size in life.logs.sizes(node).items()}
    if action != "start":
        life.stop(handle, runs)
    failed = list(life.start(runs, ready, records.handles, since)) if action != "stop" else []
    if failed:
        raise BackendError(f"{node}: {failed[0].reason}")
    return len(runs)
