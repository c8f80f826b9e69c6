"""`vtopo capture`: what passes interfaces of a running lab, to the terminal, to a file, or to Wireshark."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from vtopo import __version__
from vtopo.cli.console import Console, with_console
from vtopo.cli.endpoints import find_endpoints
from vtopo.cli.errors import DONE, FAILED, USAGE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.words import plural
from vtopo.cli.world import failures_in_words
from vtopo.run.interrupt import STOPPING
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.backends.wire import Wires
    from vtopo.packets.frame import Frame

EXAMPLE = "Example:  vtopo capture a:eth0 -f icmp        vtopo capture r1 -w - | wireshark -k -i -"


@click.command("capture", epilog=EXAMPLE)
@click.option(
    "-f", "--filter", "expression", metavar="EXPR", default="", help="Only what pcap-filter(7) takes."
)
@click.option("-w", "--write", "target", metavar="FILE", help="Write pcapng there; `-` is standard output.")
@click.option("-c", "--count", metavar="N", type=click.IntRange(min=1), help="End after N packets.")
@click.option("--for", "period", metavar="TIME", help="End after a time, such as 5s.")
@click.option("--lab", help="The lab, where several have such a node.")
@click.argument("endpoints", nargs=-1, required=True, metavar="NODE[:INTERFACE]...")
@with_console()
def command(
    console: Console,
    endpoints: tuple[str, ...],
    expression: str,
    target: str | None,
    count: int | None,
    period: str | None,
    lab: str | None,
) -> int:
    """Show what interfaces of a running lab send and receive, a line a packet, until Ctrl-C.

    A NODE alone is all that links have plugged into it. Nothing of the lab is changed, and no interface becomes
    promiscuous.
    """
    from vtopo.backends.wire import Wires
    from vtopo.cli.quantities import read_time

    if target is not None and console.json:
        raise Failure("-w writes packets, --json tells them: one of the two", USAGE)
    if target == "-" and sys.stdout.isatty():
        raise Failure(
            "packets are no text for a terminal; `-w - | wireshark -k -i -`, or leave -w out", USAGE
        )
    seconds = read_time(period, "--for") if period is not None else None
    enter_world()
    with failures_in_words(console, {}):
        name, records, spots = find_endpoints(endpoints, lab)
        wires = Wires(name, spots, records.handles, expression)
    with contextlib.closing(wires), contextlib.closing(_sink(console, target, wires, expression)) as sink:
        if not console.quiet and not console.json:
            listening = ", ".join(tap.name for tap in wires.taps)
            console.note(f"listening on {listening}; Ctrl-C ends")
        until = time.monotonic() + seconds if seconds is not None else None
        return _listen(console, wires, sink, until, count)


def _listen(console: Console, wires: Wires, sink: _Sink, until: float | None, count: int | None) -> int:
    """Pass on what comes until something says enough; the exit status."""
    seen, told = 0, 0
    status = DONE
    with _interrupts() as wake:
        watched = (wake, sink.watched) if sink.watched is not None else (wake,)
        for frames in wires.batches(until, *watched):
            kept = frames if count is None else frames[: count - seen]
            seen += len(kept)
            try:
                sink.put(kept)
            except BrokenPipeError:
                break  # its reader has seen enough
            for gone in wires.gone[told:]:
                console.note(f"{gone} is gone")
            told = len(wires.gone)
            if seen == count:
                break
        else:
            status = FAILED if len(wires.gone) == len(wires.taps) else DONE
    statistics = wires.statistics()
    with contextlib.suppress(BrokenPipeError):
        sink.end(statistics)
    if not console.quiet and not console.json:
        lost = sum(dropped for _, dropped in statistics)
        console.note(
            f"{plural(seen, 'packet')}" + (f", {lost} more came too fast to be kept" if lost else "")
        )
    return status


@contextlib.contextmanager
def _interrupts() -> Iterator[int]:
    """A descriptor that can be read once somebody interrupts: here that is how the work ends, not how it fails."""
    ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
    former = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ours)
        os.close(theirs)


# Where packets go


class _Sink(Protocol):
    watched: int | None
    """What tells by an error that nobody reads any more."""

    def put(self, frames: list[Frame]) -> None: ...

    def end(self, statistics: list[tuple[int, int]]) -> None: ...

    def close(self) -> None: ...


def _sink(console: Console, target: str | None, wires: Wires, expression: str) -> _Sink:
    from vtopo.packets import pcapng

    if target is None:
        return _Lines(console, wires)
    beginning = pcapng.header(wires.taps, f"vtopo {__version__}", expression)
    if target == "-":
        out = _File(os.dup(sys.stdout.fileno()), "standard output", is_pipe=True)
        out.write(beginning)
        return out
    from vtopo.cli.outfile import open_outfile

    return _File(open_outfile(Path(target), beginning, 0o600), target)


@dataclass(slots=True)
class _Lines:
    """Words for people, or a JSON document a line."""

    console: Console
    wires: Wires
    watched: int | None = None

    def put(self, frames: list[Frame]) -> None:
        from vtopo.packets.words import told

        width = max(len(tap.name) for tap in self.wires.taps)
        for frame in frames:
            tap = self.wires.taps[frame.tap]
            text = told(frame.data, tap.link_type)
            if self.console.json:
                self.console.in_lines().facts(
                    {
                        "time": frame.at / 1e9,
                        "interface": tap.name,
                        "direction": "out" if frame.is_sent else "in",
                        "bytes": len(frame.data),
                        "text": text,
                    }
                )
                continue
            moment = time.strftime("%H:%M:%S", time.localtime(frame.at // 1_000_000_000))
            moment += f".{frame.at % 1_000_000_000 // 1000:06d}"
            way = "Out" if frame.is_sent else "In "
            self.console.fact(f"{self.console.style(moment, 'dim')} {tap.name:{width}} {way} {text}")

    def end(self, statistics: list[tuple[int, int]]) -> None:
        pass

    def close(self) -> None:
        pass


class _File:
    """A capture file, whole up to its last packet at every moment."""

    def __init__(self, fd: int, name: str, *, is_pipe: bool = False) -> None:
        self._fd = fd
        self._name = name
        self.watched = fd if is_pipe else None

    def put(self, frames: list[Frame]) -> None:
        from vtopo.packets.pcapng import packet

        if frames:
            self.write(b"".join(map(packet, frames)))

    def end(self, statistics: list[tuple[int, int]]) -> None:
        from vtopo.packets import pcapng

        now = time.time_ns()
        self.write(b"".join(pcapng.statistics(n, now, *each) for n, each in enumerate(statistics)))

    def write(self, data: bytes) -> None:
        """All of it or none: what a full disk took of it is taken back."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except BrokenPipeError:
            raise
        except OSError as e:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - (len(data) - len(left)))
            raise Failure(f"cannot write {self._name}: {os.strerror(e.errno or 0)}", FAILED) from e

    def close(self) -> None:
        os.close(self._fd)
