"""Runs a piece of work in a process of its own, forked from this one: quick, and it may be killed."""

from __future__ import annotations

import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from cli import World
from fork_server import import_all

from vtopo.backends.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, setns

T = TypeVar("T")

WORLDS = 2
PATIENCE = 900.0
"""Seconds for a sweep: none takes a tenth of that on a machine that is not busy."""


@dataclass(frozen=True)
class Ended(Generic[T]):
    """How it ended: with a `value`, or `killed` by SIGKILL."""

    value: T | None
    killed: bool = False


class Fork(Generic[T]):
    """A process that does `work`; in the namespaces of `world`, if given."""

    def __init__(self, work: Callable[[], T], world: World | None = None) -> None:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ours)
                if world is not None:
                    _enter(world)
                _answer(theirs, work)
            finally:
                os._exit(0)
        os.close(theirs)
        self._pipe = ours
        self._pidfd = os.pidfd_open(self.pid)

    def end(self, seconds: float = 60) -> Ended[T]:
        """Wait for its end: AssertionError with its traceback if it raised, and if it takes too long."""
        parts: list[bytes] = []
        try:
            while select.select([self._pipe], [], [], seconds)[0]:
                part = os.read(self._pipe, 1 << 16)
                if not part:
                    break
                parts.append(part)
            else:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                raise AssertionError(f"it did not end within {seconds:.0f} s")
        finally:
            os.close(self._pipe)
            os.close(self._pidfd)
            _, status = os.waitpid(self.pid, 0)
        if not parts:
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
            return Ended(None, killed=True)
        value, error = pickle.loads(b"".join(parts))
        assert error is None, error
        return Ended(value)


def _answer(pipe: int, work: Callable[[], T]) -> None:
    try:
        answer = pickle.dumps((work(), None))
    except BaseException:
        answer = pickle.dumps((None, traceback.format_exc()))
    with open(pipe, "wb") as f:
        f.write(answer)


def _enter(world: World) -> None:
    """Move there; only a child is in its pid namespace, and so this process waits for one as if it were that one."""
    target = os.pidfd_open(world.first)
    setns(target, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
    os.close(target)
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)


def forked(work: Callable[[], T], world: World | None = None, seconds: float = 60) -> Ended[T]:
    """Do `work` in a process of its own, to its end."""
    return Fork(work, world).end(seconds)


def together(works: Sequence[Callable[[], T]], seconds: float = 60) -> list[T | None]:
    """Do all of them at the same time; what each came to."""
    forks = [Fork(work) for work in works]
    return [fork.end(seconds).value for fork in forks]


def in_worlds(work: Callable[[int, int], list[str]]) -> list[str]:
    """Do `work` in as many worlds at once as this has CPUs to use: it is given its share's number, and their count."""
    worlds = [World() for _ in range(WORLDS)]
    try:
        forks = [
            Fork(lambda share=share: work(share, WORLDS), world)  # type: ignore[misc]
            for share, world in enumerate(worlds)
        ]
        return [found for fork in forks for found in fork.end(PATIENCE).value or ()]
    finally:
        for world in worlds:
            world.close()


def warm() -> None:
    """Import here what a run imports late, so that a forked one finds it imported: some tenths of a second in each."""
    import_all()
