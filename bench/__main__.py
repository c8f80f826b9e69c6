"""`python -m bench`: all contenders on the same labs, alternating, in one run."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from bench import kernel
from bench.floor import Floor
from bench.labs import Shape
from bench.machine import header
from bench.processes import CommandError, become_subreaper, end_descendants, reap
from bench.product import Vtopo
from bench.record import Contender, Measurement, Record
from bench.report import render, to_json
from bench.rival import MininetRival
from bench.scratch import scratch_folder

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
    return status


def _run(options: argparse.Namespace, scratch: Path, vtopo: Vtopo | None, record: Record) -> None:
    """All measurements, into the record."""
    floor = Floor(scratch, options.timeout)
    mininet = MininetRival.find(options.timeout)
    if mininet is None:
        record.note("Mininet is not installed")
    if floor.note:
        record.note(floor.note)
    rivals: list[Rival] = [floor]
    if vtopo is not None:
        rivals.append(vtopo)
    if mininet is not None:
        rivals.append(mininet)
    for shape in options.only:
        for size in options.sizes:
            _alternate(record, rivals, shape, size, options.rounds)
    if vtopo is not None:
        _vtopo_alone(options, vtopo, record)


def _alternate(record: Record, rivals: Iterable[Rival], shape: Shape, size: int, rounds: int) -> None:
    """Rounds of one lab, each rival in turn; one that fails is not asked again for this lab."""
    failed: set[Contender] = set()
    for number in range(1, rounds + 1):
        for rival in rivals:
            if rival.contender in failed:
                continue
            _say(f"{shape.value} {size}, round {number} of {rounds}: {rival.contender.value}")
            kernel.drain()
            what = f"{rival.contender.value}, {shape.value} {size}"
            if not _keep(record, rival.measure(shape, size), what):
                failed.add(rival.contender)
            reap()


def _vtopo_alone(options: argparse.Namespace, vtopo: Vtopo, record: Record) -> None:
    """What only vtopo does: up right after down, and the compiler by itself."""
    if options.cycles and Shape.RING in options.only:
        size = max(options.sizes)
        _say(f"ring {size}: up right after down, {options.cycles} times")
        _keep(record, vtopo.cycles(Shape.RING, size, options.cycles), "cycles")
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
    parser.add_argument("--sizes", type=_numbers, default=[100, 1000], help="hosts per lab (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each lab (%(default)s)")
    parser.add_argument("--only", type=_shapes, default=list(Shape), help="ring, star or both (ring,star)")
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
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _shapes(text: str) -> list[Shape]:
    return [Shape(name) for name in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
