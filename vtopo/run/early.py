"""Has a lab that is up looked at by a process of its own (vtopo.run.looking), while the lab's file is still read."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, cast

from vtopo.state.folder import StateDir
from vtopo.state.lock import locked

if TYPE_CHECKING:
    from vtopo.backends.base import Backend, Present
    from vtopo.run.looking import Told
    from vtopo.state.store import Records


class EarlyLook:
    """Holds the lock of a lab that has records, and observes the lab, both until `close`.

    A thread would have to share one interpreter with the compiler; a forked process has a CPU of its own. It
    changes nothing and tells what it saw through a pipe. It is forked before what it needs is imported: as long as
    it imports that, this process can go on with what else there is to import.
    """

    def __init__(self, state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]]) -> None:
        """LockHeld if another command works on the lab; StateError if its folder cannot be trusted."""
        self.lab = lab
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(state, lab, timeout=0))
            ours, theirs = os.pipe()
            stack.callback(os.close, ours)
            parent = os.getpid()
            self._pid = os.fork()
            if self._pid == 0:
                _look(parent, (ours, theirs), state, lab, backends)
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
        return told is not None and told == (set(), {}, stamp)

    def _hear(self) -> Told | None:
        """What the other process has seen; None if it did not get that far."""
        if self._pid:
            with open(self._pipe, "rb", closefd=False) as pipe:
                told = pipe.read()
            if self._end() == 0:
                import pickle

                self._told = cast("Told", pickle.loads(told))  # noqa: S301  our own fork wrote it
        return self._told

    def present(self, records: Records) -> Mapping[str, Present] | None:
        """What is there of the lab's records; None if the other process did not get that far."""
        told = self._hear()
        if told is None:
            return None
        from vtopo.backends.base import Handle, Present

        none = Handle()
        missing, different, _ = told
        present = {
            id_: Present(resource, records.handles.get(id_, none))
            for id_, resource in records.resources.items()
            if id_ not in missing and id_ not in records.unfinished
        }
        return present | different


def _look(
    parent: int, pipe: tuple[int, int], state: StateDir, lab: str, backends: Callable[[], Sequence[Backend]]
) -> NoReturn:
    """What the other process does. Whatever ends `parent` ends this one, which has the lab's lock with it."""
    try:
        from vtopo.backends.syscalls import die_with_parent

        die_with_parent()
        if os.getppid() == parent:
            os.close(pipe[0])
            from vtopo.run.looking import tell

            tell(pipe[1], state, lab, backends)
    finally:
        # Nothing of what this process has a copy of is its own to close or to print.
        os._exit(1)
