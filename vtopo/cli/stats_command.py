"""`vtopo stats`: what the nodes and links of a running lab use."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.words import natural
from vtopo.cli.world import choose_lab, failures_in_words, meters_of, state_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vtopo.run.rates import InterfaceRates, NodeRates, Reading

_FIRST = 0.5  # seconds between the two readings of a single table
_HEADS = ("NODE", "KIND", "CPU", "CPU TIME", "MEMORY", "READ", "WRITTEN", "PIDS")
_LINK_HEADS = ("INTERFACE", "RX", "TX", "RX BYTES", "TX BYTES", "DROPPED", "ERRORS")


@click.command("stats", epilog="Example:  vtopo stats limits --once")
@click.argument("lab", required=False, metavar="[FILE|LAB]")
@click.option("--once", is_flag=True, help="One table, also on a terminal.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the table on a terminal is read anew.",
)
@with_connect
@with_console()
def command(console: Console, lab: str | None, once: bool, interval: float) -> int:
    """Show CPU time, memory, I/O and processes of every node, and what passes every interface.

    On a terminal the table is read anew until Ctrl-C; otherwise it is printed once.
    """
    enter_world()
    name = choose_lab(state_dir(), lab)
    if name is None:
        console.say("no lab is running")
        return DONE
    with failures_in_words(console, {}):
        read = _reader(name)
        before = read()
        if sys.stdout.isatty() and not once and not console.json:
            from vtopo.cli.stats_live import follow

            follow(name, before, read, interval, _tables)
            return DONE
        time.sleep(_FIRST)
        now = read()
    nodes, interfaces = _rates(before, now)
    if console.json:
        console.facts(_as_json(name, now.at - before.at, nodes, interfaces))
    else:
        for heads, rows in _tables(before, now):
            for line in _lines(heads, rows):
                console.fact(line)
    return DONE


def _reader(lab: str) -> Callable[[], Reading]:
    """Reads all meters of a lab, whose records are looked up each time: it may change meanwhile."""
    from vtopo.run.rates import Reading
    from vtopo.state.store import Store

    meters = meters_of(lab)

    def read() -> Reading:
        try:
            with Store.open(state_dir(), lab) as store:
                records = store.load()
        except FileNotFoundError as e:
            raise Failure(f"lab `{lab}` has no records here; it is down, or belongs to another folder") from e
        resources = tuple(records.resources.values())
        parts = [meter.usage(resources, records.handles) for meter in meters]
        return Reading.of(time.monotonic(), parts)

    return read


def _rates(before: Reading, now: Reading) -> tuple[Sequence[NodeRates], Sequence[InterfaceRates]]:
    from vtopo.run.rates import interface_rates, node_rates

    return (
        sorted(node_rates(before, now), key=lambda each: natural(each.usage.node)),
        sorted(interface_rates(before, now), key=lambda each: natural(each.usage.name)),
    )


# For people


def _tables(before: Reading, now: Reading) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """Heads and rows of the tables of nodes and of interfaces; an empty table is left out."""
    nodes, interfaces = _rates(before, now)
    tables = [(_HEADS, [_node_row(n) for n in nodes]), (_LINK_HEADS, [_link_row(i) for i in interfaces])]
    return [(heads, rows) for heads, rows in tables if rows]


def _node_row(rates: NodeRates) -> tuple[str, ...]:
    usage = rates.usage
    return (
        usage.node,
        usage.kind,
        "-" if rates.cpu_percent is None else f"{rates.cpu_percent:.1f}%",
        "-" if usage.cpu is None else f"{usage.cpu / 1e6:.2f}s",
        _of(usage.memory, usage.memory_limit, size),
        size(usage.read),
        size(usage.written),
        _of(usage.pids, usage.pids_limit, lambda n: "-" if n is None else str(n)),
    )


def _of(used: int | None, limit: int | None, shown: Callable[[int | None], str]) -> str:
    return shown(used) if limit is None else f"{shown(used)}/{shown(limit)}"


def _link_row(rates: InterfaceRates) -> tuple[str, ...]:
    counters = rates.usage.counters
    return (
        rates.usage.name,
        bits(rates.rx_bits),
        bits(rates.tx_bits),
        size(counters.rx_bytes),
        size(counters.tx_bytes),
        str(counters.rx_dropped + counters.tx_dropped),
        str(counters.rx_errors + counters.tx_errors),
    )


def size(number: int | None) -> str:
    """Bytes in binary units, such as `1.5MiB`; `-` for what nobody counts."""
    return "-" if number is None else _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def bits(number: float) -> str:
    """Bits per second, such as `9.5Mbit`."""
    return _scaled(number, 1000, ("bit", "kbit", "Mbit", "Gbit"))


def _scaled(number: float, step: int, units: Sequence[str]) -> str:
    value = float(number)
    for unit in units[:-1]:
        if value < step - 0.5:
            return f"{value:.0f}{unit}" if unit == units[0] or value >= 100 else f"{value:.1f}{unit}"
        value /= step
    return f"{value:.1f}{units[-1]}"


def _lines(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of text, its first column to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    left = {0, heads.index("KIND")} if "KIND" in heads else {0}
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]


# For machines


def _as_json(
    lab: str, seconds: float, nodes: Sequence[NodeRates], interfaces: Sequence[InterfaceRates]
) -> dict[str, object]:
    return {
        "lab": lab,
        "seconds": round(seconds, 3),
        "nodes": [
            {
                "node": each.usage.node,
                "kind": each.usage.kind,
                "cpu_usec": each.usage.cpu,
                "cpu_percent": None if each.cpu_percent is None else round(each.cpu_percent, 1),
                "memory_bytes": each.usage.memory,
                "memory_limit_bytes": each.usage.memory_limit,
                "read_bytes": each.usage.read,
                "written_bytes": each.usage.written,
                "pids": each.usage.pids,
                "pids_limit": each.usage.pids_limit,
            }
            for each in nodes
        ],
        "interfaces": [
            {
                "interface": each.usage.name,
                "device": each.usage.device,
                "rx_bits_per_second": round(each.rx_bits),
                "tx_bits_per_second": round(each.tx_bits),
                **dataclasses.asdict(each.usage.counters),
            }
            for each in interfaces
        ],
    }
