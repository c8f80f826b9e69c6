"""Looks at a lab that is up by a process of its own, while the lab's file is still read."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self, cast

from vtopo.backends.base import Backend, Handle, Present
from vtopo.backends.looks import NO_LOOKS, merged
from vtopo.run.looking import Told, key_of, look
from vtopo.state.folder import StateDir
from vtopo.state.lock import locked
from vtopo.state.store import Records, Store

_NONE = Handle()


class EarlyLook:
    """Holds the lock of a lab that has records, and observes the lab, both until `close`.

    A thread would have to share one interpreter with the compiler; a forked process has a CPU of its own, and
    begins with what is imported here. It changes nothing and tells what it saw through a pipe.
    """

    def __init__(self, state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]]) -> None:
        """LockHeld if another command works on the lab; StateError if its folder cannot be trusted."""
        self.lab = lab
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(state, lab, timeout=0))
            ours, theirs = os.pipe()
            stack.callback(os.close, ours)
            self._pid = os.fork()
            if self._pid == 0:
                os.close(ours)
                _tell(theirs, state, lab, backends)
            os.close(theirs)
            self._pipe = ours
            self._told: Told | None = None
            self._held = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop looking, and let go of the lab."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._end()
        self._held.close()

    def _end(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return status

    def is_as_recorded(self, stamp: str) -> bool:
        """Whether the records have this stamp, and all that they say is there, and just so."""
        told = self._hear()
        return told is not None and not told.missing and not told.different and told.stamp == stamp

    def _hear(self) -> Told | None:
        """What the other process has seen; None if it did not get that far."""
        if self._pid:
            with open(self._pipe, "rb", closefd=False) as pipe:
                told = pipe.read()
            if self._end() == 0:
                self._told = cast("Told", pickle.loads(told))  # noqa: S301  our own fork wrote it
        return self._told

    def keep_looks(self, store: Store, touched: Collection[str] = ()) -> None:
        """Keep how the namespaces look for the next time, but for those that were `touched` since.

        StateError if there is no room.
        """
        told = self._hear()
        if told is None or (told.fresh == NO_LOOKS and not told.gone_by):
            return
        key = key_of(store)
        if key == told.gone_by and told.fresh == NO_LOOKS and not touched and not told.altered:
            return
        old = store.looks(told.gone_by) if told.gone_by else NO_LOOKS
        store.keep_looks(key, merged(old, told.altered, told.fresh, touched))

    def present(self, records: Records) -> Mapping[str, Present] | None:
        """What is there of the lab's records; None if the other process did not get that far."""
        told = self._hear()
        if told is None:
            return None
        present = {
            id_: Present(resource, records.handles.get(id_, _NONE))
            for id_, resource in records.resources.items()
            if id_ not in told.missing and id_ not in records.unfinished
        }
        return present | told.different


def _tell(pipe: int, state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]]) -> NoReturn:
    """Look, and write what was seen."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        told = look(state, lab, backends, pipe)
        with open(pipe, "wb") as out:
            pickle.dump(told, out)
        status = 0
    finally:
        # Nothing of what this process has a copy of is its own to close or to print.
        os._exit(status)
