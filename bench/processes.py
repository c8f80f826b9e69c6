"""Runs a command to its end or its deadline, and knows every process that came from this one.

The benchmark is the subreaper of all that it starts, so what a command leaves behind becomes its child: it can be
counted, measured and, if need be, ended by its id, and no other process of the machine is ever mistaken for it.
"""

import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
UNDO_SECONDS = 30.0
REAP_SECONDS = 0.02


class CommandError(Exception):
    """A command that failed or outlived its deadline; the text says which and its last words."""


@dataclass(frozen=True)
class Outcome:
    """What a finished command cost: seconds from start to exit, and its peak resident memory in MiB."""

    seconds: float
    peak_rss: float
    output: str


def become_subreaper() -> None:
    """Adopt the orphans of everything started from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def run(
    command: Sequence[str], timeout: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Run a command in a session of its own. Its output goes to a file: an inherited pipe could block forever."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            cwd=cwd, env=env, start_new_session=True,
        )  # fmt: skip
        try:
            peak_rss = _wait(process, start + timeout)
        except BaseException:
            _stop(process)
            raise
        seconds = time.monotonic() - start
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != 0:
        raise CommandError(f"{_text(process)}: exit {process.returncode}: {_reason(text)}")
    return Outcome(seconds, peak_rss, text)


def reap() -> None:
    """Collect the finished orphans that this process adopted."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants() -> list[int]:
    """Every living process that came from this one, zombies left out."""
    children = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = status.read_text().rpartition(") ")[2].split()[:2]
            if state not in "ZX":
                children[int(parent)].append(int(status.parent.name))
    found, pending = [], [os.getpid()]
    while pending:
        below = children[pending.pop()]
        found += below
        pending += below
    return found


def end_descendants() -> None:
    """Kill, by id, whatever this process started and is still there."""
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    reap()


def _wait(process: "subprocess.Popen[bytes]", deadline: float) -> float:
    """Wait to the exit or the deadline, reaping adopted orphans meanwhile; the peak RSS in MiB."""
    pidfd = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while True:
            poller.poll(REAP_SECONDS * 1000)
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == process.pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    return usage.ru_maxrss / 1024
                if pid == 0:
                    break
            if time.monotonic() > deadline:
                raise CommandError(f"{_text(process)}: not finished in time")
    finally:
        os.close(pidfd)


def _text(process: "subprocess.Popen[bytes]") -> str:
    return " ".join(map(str, process.args))  # type: ignore[arg-type]


def _reason(output: str) -> str:
    """The first line that speaks of an error, else the last one."""
    lines = output.strip().splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no output")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a command to undo its work, then insist."""
    process.terminate()
    try:
        process.wait(UNDO_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
