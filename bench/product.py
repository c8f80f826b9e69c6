"""vtopo itself, every command a fresh process: up, up again, down, what stays behind, and the compiler alone."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bench.kernel import drain
from bench.labs import (
    Shape,
    all_pairs,
    lab_text,
    with_a_host,
    with_mtu,
    with_rates,
    written_out,
)
from bench.processes import CommandError, Outcome, end_descendants, run
from bench.record import Contender, Figure, Measurement
from bench.traces import Traces, pss_mebibytes

_GONE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_DID = re.compile(r"\d+ (?:created|updated|replaced|deleted)")


class Vtopo:
    """vtopo with a state folder of its own."""

    contender = Contender.VTOPO
    note = None

    def __init__(self, command: Sequence[str], scratch: Path, timeout: float) -> None:
        self._command = list(command)
        self._scratch = scratch
        self._timeout = timeout
        self._env = os.environ | {"VTOPO_STATE_DIR": str(scratch / "state"), "NO_COLOR": "1"}

    def version(self) -> str:
        """What `--version` prints; CommandError where vtopo does not run."""
        return self._vtopo("--version").output.strip()

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]:
        """One lab up, up again, looked at, and down."""
        lab, file = self._write(shape, size)
        before = Traces.look()

        def found(figure: Figure, value: float) -> Measurement:
            return Measurement(self.contender, shape.value, size, figure, value)

        try:
            yield found(Figure.UP, self._vtopo("up", str(file)).seconds)
            made = Traces.look().since(before)
            inits = made.inits()
            if len(inits) < size:
                raise CommandError(f"up made {len(inits)} isolated hosts of {size}")
            yield found(Figure.PSS, pss_mebibytes(inits) / size)
            yield found(Figure.LEFT_RUNNING, len(made.processes) - size)
            yield found(Figure.NO_OP, self._vtopo("up", str(file)).seconds)
            yield found(
                Figure.EDIT, self._edit(file, with_mtu(lab_text(shape, lab, size), 1400), "1 updated")
            )
            file.write_text(lab_text(shape, lab, size))
            self._vtopo("up", str(file))
            if shape is Shape.RING:
                yield found(
                    Figure.ADD,
                    self._edit(file, with_a_host(lab_text(shape, lab, size)), "4 created, 1 updated"),
                )
            yield found(Figure.DOWN, self._vtopo("down", lab).seconds)
            gone, left = _wait_until_gone(made)
            yield found(Figure.GONE, gone)
            if left:
                raise CommandError(f"left {gone:.0f} s after down: {', '.join(left)}")
            yield found(Figure.DRAINED, drain())
        except BaseException:
            self._clear(lab)
            raise

    def _edit(self, file: Path, text: str, expected: str) -> float:
        """Seconds that an edit of the running lab takes; CommandError unless it did just what was expected."""
        file.write_text(text)
        outcome = self._vtopo("up", str(file))
        did = ", ".join(_DID.findall(outcome.output))
        if did != expected:
            raise CommandError(f"an edit was {did or 'not carried out'}, not {expected}")
        return outcome.seconds

    def cycles(self, shape: Shape, size: int, count: int) -> Iterator[Measurement]:
        """`up` the moment `down` has returned, so many times in a row; how many of them failed."""
        lab, file = self._write(shape, size)
        failures = 0
        try:
            self._vtopo("up", str(file))
            for _ in range(count):
                self._vtopo("down", lab)
                try:
                    self._vtopo("up", str(file))
                except CommandError:
                    failures += 1
            self._vtopo("down", lab)
        except BaseException:
            self._clear(lab)
            raise
        yield Measurement(self.contender, shape.value, size, Figure.CYCLES, failures)

    def rated(self, size: int) -> Iterator[Measurement]:
        """A ring with a rate on every link up."""
        lab, file = self._write(Shape.RING, size)
        file.write_text(with_rates(lab_text(Shape.RING, lab, size)))
        try:
            up = self._vtopo("up", str(file))
            yield Measurement(self.contender, Shape.RING.value, size, Figure.UP_RATED, up.seconds)
            self._vtopo("down", lab)
        except BaseException:
            self._clear(lab)
            raise

    def expectations(self, hosts: int = 24) -> Iterator[Measurement]:
        """All pairs of some hosts on one bridge: more would overflow the kernel's table of neighbours (1024)."""
        lab = f"bench-pairs-{os.getpid()}"
        file = self._scratch / f"{lab}.vlab"
        text, count = all_pairs(lab, hosts)
        file.write_text(text)
        try:
            self._vtopo("up", str(file))
            tried = self._vtopo("test", str(file))
            yield Measurement(self.contender, "pairs", count, Figure.TEST, tried.seconds)
            self._vtopo("down", lab)
        except BaseException:
            self._clear(lab)
            raise

    def check(self, file: Path) -> Iterator[Measurement]:
        """A cold `check` of one file."""
        outcome = self._vtopo("check", str(file))
        yield Measurement(self.contender, file.stem, 1, Figure.CHECK, outcome.seconds)

    def check_written_out(self, statements: int) -> Iterator[Measurement]:
        """A cold `check` of a generated file with that many statements."""
        file = self._scratch / f"written-out-{statements}.vlab"
        file.write_text(written_out(statements))
        outcome = self._vtopo("check", str(file))
        yield Measurement(self.contender, "statements", statements, Figure.CHECK, outcome.seconds)
        yield Measurement(self.contender, "statements", statements, Figure.CHECK_RSS, outcome.peak_rss)

    def _vtopo(self, *arguments: str) -> Outcome:
        return run([*self._command, *arguments], self._timeout, env=self._env)

    def _write(self, shape: Shape, size: int) -> tuple[str, Path]:
        """The lab's name, not another run's, and its file."""
        lab = f"bench-{shape.value}-{size}-{os.getpid()}"
        file = self._scratch / f"{lab}.vlab"
        file.write_text(lab_text(shape, lab, size))
        return lab, file

    def _clear(self, lab: str) -> None:
        """After a failure or an interruption: vtopo's own way first, then by process id."""
        with suppress(CommandError):
            self._vtopo("down", lab)
        end_descendants()


def _wait_until_gone(made: Traces) -> tuple[float, list[str]]:
    """Seconds until nothing of the lab was left, or was given up on; and what stayed then."""
    start = time.monotonic()
    while (left := made.left()) and time.monotonic() - start <= _GONE_SECONDS:
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - start, left
