"""Has jobs done in a process beside the server, one at a time; a newer one of the same file ends an older one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import Hashable
from pathlib import Path

import vtopo
from vtopo.editor.jobs import Failed, Job, Outcome
from vtopo.editor.worker import HEADER
from vtopo.values import dataclass

LONGEST = 60.0
"""Seconds that a job may take."""

_START = "import sys; sys.path.insert(0, sys.argv[1]); from vtopo.editor.worker import main; main()"
_FOLDER = str(Path(vtopo.__file__).resolve().parents[1])


class Superseded(Exception):
    """A newer job of the same key came before this one was over."""


@dataclass(slots=True, eq=False)
class _Waiting:
    key: Hashable
    job: Job
    outcome: asyncio.Future[Outcome]


class Checker:
    """The jobs that wait, the one that runs, and the process that does it."""

    def __init__(self) -> None:
        self._queue: dict[Hashable, _Waiting] = {}
        self._running: _Waiting | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def do(self, key: Hashable, job: Job) -> Outcome:
        """The outcome of a job, in its turn; Superseded if another of its key was given meanwhile."""
        self.supersede(key)
        waiting = _Waiting(key, job, asyncio.get_running_loop().create_future())
        self._queue[key] = waiting
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await waiting.outcome

    def supersede(self, key: Hashable) -> None:
        """End what waits or runs under a key."""
        waiting = self._queue.pop(key, None)
        if waiting is not None and not waiting.outcome.done():
            waiting.outcome.set_exception(Superseded())
        running = self._running
        if running is not None and running.key == key and not running.outcome.done():
            running.outcome.set_exception(Superseded())
            self._kill()

    def close(self) -> None:
        """End all."""
        for key in [*self._queue, *([self._running.key] if self._running is not None else [])]:
            self.supersede(key)
        if self._task is not None:
            self._task.cancel()
        self._kill()

    async def _work(self) -> None:
        while self._queue:
            waiting = self._queue.pop(next(iter(self._queue)))
            self._running = waiting
            try:
                outcome: Outcome = await asyncio.wait_for(self._send(waiting.job), LONGEST)
            except TimeoutError:
                self._kill()
                outcome = Failed(f"it takes more than {LONGEST:.0f} s; `vtopo check` has no such limit")
            except (OSError, EOFError, asyncio.IncompleteReadError):
                self._kill()
                outcome = Failed("the process that checks files came to its end")
            self._running = None
            if not waiting.outcome.done():
                waiting.outcome.set_result(outcome)

    async def _send(self, job: Job) -> Outcome:
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        data = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
        process.stdin.write(HEADER.pack(len(data)) + data)
        await process.stdin.drain()
        length = HEADER.unpack(await process.stdout.readexactly(HEADER.size))[0]
        outcome: Outcome = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301 - our own child
        return outcome

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            # -P: nothing is imported from the folder that the editor was started in.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _START, _FOLDER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if os.environ.get("VTOPO_DEBUG") else asyncio.subprocess.DEVNULL,
            )
        return self._process

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process = None
