"""`python -m bench`: all contenders on the same labs, alternating, in one run."""

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from bench import kernel, rival
from bench.floor import Floor
from bench.ip_batch import IpBatch
from bench.labs import Shape
from bench.machine import header
from bench.plot import plot
from bench.processes import CommandError, become_subreaper, end_descendants, reap
from bench.product import Vtopo
from bench.record import Contender, Figure, Measurement, Record
from bench.report import render, to_json
from bench.scratch import scratch_folder

_LONG_SECONDS = 20.0
_QUICKSTART = Path(__file__).parent.parent / "labs" / "quickstart.vlab"


class Rival(Protocol):
    """Whoever can bring a lab up and down and tell how long it took."""

    @property
    def contender(self) -> Contender: ...

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]: ...


def main() -> int:
    """Measure, print, and leave nothing behind."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: needs root: it makes namespaces and links", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    become_subreaper()
    record = Record()
    status = 0
    with scratch_folder() as folder:
        vtopo = Vtopo(shlex.split(options.vtopo), folder, options.timeout)
        version = _try(record, vtopo.version)
        lines = header(version)
        try:
            _run(options, folder, vtopo if version is not None else None, record)
        except KeyboardInterrupt:
            print("bench: interrupted; what was measured so far:", file=sys.stderr)
            status = 130
        finally:
            end_descendants()
    print(render(record, lines))
    if options.json:
        options.json.write_text(to_json(record, lines))
    if options.plot:
        options.plot.write_text(plot(record, Shape.RING.value))
    return status


def _run(options: argparse.Namespace, scratch: Path, vtopo: Vtopo | None, record: Record) -> None:
    """All measurements, into the record."""
    floor = Floor(scratch, options.timeout)
    mininet = rival.mininet(options.timeout)
    munet = rival.munet(scratch, options.timeout, options.munet)
    if mininet is None:
        record.note("Mininet is not installed")
    if munet is None:
        record.note("munet is not installed")
    if floor.note:
        record.note(floor.note)
    rivals: list[Rival] = [r for r in (floor, vtopo, mininet, munet) if r is not None]
    if shutil.which("ip"):
        rivals.append(IpBatch(scratch, options.timeout))
    for shape in options.only:
        failed: set[Contender] = set()
        for size in sorted(options.sizes):
            _alternate(record, rivals, shape, size, options.rounds, failed)
    if vtopo is not None:
        _vtopo_alone(options, vtopo, record)


def _alternate(
    record: Record, rivals: Iterable[Rival], shape: Shape, size: int, rounds: int, failed: set[Contender]
) -> None:
    """Rounds of one lab, each rival in turn. One that fails joins the `failed`, who are not asked any more.

    A rival that takes long is asked once: its spread is not worth the minutes.
    """
    for number in range(1, rounds + 1):
        for each in rivals:
            who = each.contender
            past = record.values(who, shape.value, size, Figure.UP)
            if who in failed or (past and past[0] > _LONG_SECONDS):
                continue
            _say(f"{shape.value} {size}, round {number} of {rounds}: {who.value}")
            kernel.drain()
            if not _keep(record, each.measure(shape, size), f"{who.value}, {shape.value} {size}"):
                failed.add(who)
            reap()


def _vtopo_alone(options: argparse.Namespace, vtopo: Vtopo, record: Record) -> None:
    """What only vtopo does: up right after down, and the compiler by itself."""
    if options.cycles and Shape.RING in options.only:
        size = min(max(options.sizes), 1000)
        _say(f"ring {size}: up right after down, {options.cycles} times")
        _keep(record, vtopo.cycles(Shape.RING, size, options.cycles), "cycles")
    for _ in range(options.rounds if Shape.RING in options.only else 0):
        for size in options.sizes:
            _say(f"ring {size}: a rate on every link")
            kernel.drain()
            _keep(record, vtopo.rated(size), f"rates, ring {size}")
        _say("test of all pairs")
        _keep(record, vtopo.expectations(), "test of all pairs")
    for _ in range(options.rounds):
        if _QUICKSTART.exists():
            _say("check of the quickstart")
            _keep(record, vtopo.check(_QUICKSTART), "check of the quickstart")
        for statements in options.statements:
            _say(f"check of {statements} statements")
            _keep(record, vtopo.check_written_out(statements), f"check of {statements} statements")


def _keep(record: Record, measurements: Iterator[Measurement], what: str) -> bool:
    """Record numbers as they come; a failure becomes a note. Whether all came."""
    try:
        for measurement in measurements:
            record.add([measurement])
    except CommandError as error:
        record.note(f"{what}: {error}")
        return False
    return True


def _try(record: Record, what: Callable[[], str]) -> str | None:
    try:
        return what()
    except (CommandError, FileNotFoundError) as error:
        record.note(f"vtopo does not run: {error}")
        return None


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--sizes", type=_numbers, default=[100, 300, 1000, 3000], help="hosts per lab (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each lab (%(default)s)")
    parser.add_argument("--only", type=_shapes, default=[Shape.RING], help="ring, star or both (ring)")
    parser.add_argument(
        "--cycles", type=int, default=10, help="times of up right after down; 0: none (%(default)s)"
    )
    parser.add_argument(
        "--statements", type=_numbers, default=[1000, 3000, 10_000, 30_000],
        help="lengths of the files that are only checked (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--vtopo", default=f"{sys.executable} -m vtopo", help="the command (%(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds for any one command (%(default)s)"
    )
    parser.add_argument("--munet", help="a Python that has munet (this one, or the system's)")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--plot", type=Path, help="draw the growth of `up` into this SVG file")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _shapes(text: str) -> list[Shape]:
    return [Shape(name) for name in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
