"""A rival that makes a lab, says "up", and takes it down when told: one process, two timed halves."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from bench.processes import CommandError


class Session:
    """One such process. `up` and `down` return seconds as seen from outside, and the word the rival added."""

    def __init__(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | dict(environment or {}),
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()  # what it made lives in its own namespaces and dies with it
        self._process.communicate()
        self._errors.close()

    def up(self) -> tuple[float, str]:
        """From the start of the process to its "up"."""
        word = self._read("up")
        return time.monotonic() - self._start, word

    def down(self) -> tuple[float, str]:
        """From the order to the exit of the process, all of its hosts gone."""
        assert self._process.stdin is not None
        start = time.monotonic()
        self._process.stdin.write(b"down\n")
        self._process.stdin.flush()
        word = self._read("")
        try:
            code = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"not down after {self._timeout:.0f} s") from None
        if code != 0:
            raise self._failure(f"exit {code}")
        return time.monotonic() - start, word

    def _read(self, expected: str) -> str:
        """The rest of the next line, which starts with `expected`."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._timeout)[0]:
            raise self._failure(f"silent for {self._timeout:.0f} s")
        line = self._process.stdout.readline().decode().strip()
        if not line.startswith(expected):
            raise self._failure(f"said {line!r}" if line else "ended early")
        return line.removeprefix(expected).strip()

    def _failure(self, what: str) -> CommandError:
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return CommandError(": ".join([" ".join(self._command), what, *last]))
