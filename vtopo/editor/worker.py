"""The process beside the server: does one job after the other, and can be ended in the middle of one."""

from __future__ import annotations

import gc
import pickle
import struct
import sys
from typing import BinaryIO

from vtopo.cli.reading import read_module
from vtopo.compile.frontend import check_source
from vtopo.editor.compiled import compiled
from vtopo.editor.jobs import Check, Checked, Failed, Format, Formatted, Job, Outcome
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import FormatError, canonical
from vtopo.lang.source import Source

HEADER = struct.Struct(">Q")
"""The length of what follows: a pickled job or outcome, between a server and its own child only."""

MOST_MEMORY = 2 * 2**30
"""Bytes that a job may take: a slip of the pen, as `1..1000000`, is not to end an editor's machine."""


def do(job: Job) -> Outcome:
    """Carry a job out; what goes wrong comes back as Failed."""
    try:
        return _check(job) if isinstance(job, Check) else _format(job)
    except MemoryError:
        return Failed(
            "it takes more memory than checks while typing may have; `vtopo check` has no such limit"
        )
    except Exception as e:
        return Failed(f"vtopo itself is at fault: {type(e).__name__}: {e}")


def _check(job: Check) -> Checked:
    def read(path: str) -> Source:
        return Source(path, job.open[path]) if path in job.open else read_module(path)

    checked = check_source(Source(job.path, job.text), reader=read)
    lab = compiled(checked.lab) if checked.lab is not None else None
    return Checked(tuple(checked.diagnostics), checked.diagnostics.dropped, lab, tuple(checked.sources))


def _format(job: Format) -> Formatted:
    diagnostics = Diagnostics()
    try:
        text = canonical(Source(job.path, job.text), diagnostics)
    except FormatError as e:
        return Formatted(None, str(e))
    if text is None:
        first = next(iter(diagnostics))
        return Formatted(None, f"line {first.range.line} does not parse: {first.message}")
    return Formatted(text)


def main() -> None:
    """Do the jobs that come on standard input until it ends."""
    given, back = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    _bound_memory()
    # Labs are trees with ways back to their roots: collected once they are over, not while they grow.
    gc.disable()
    while (job := _next(given)) is not None:
        data = pickle.dumps(do(job), pickle.HIGHEST_PROTOCOL)
        back.write(HEADER.pack(len(data)) + data)
        back.flush()
        del data, job
        gc.collect()


def _next(given: BinaryIO) -> Job | None:
    header = given.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    job: Job = pickle.loads(given.read(HEADER.unpack(header)[0]))  # noqa: S301 - from our own parent
    return job


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, hard))
