"""The tables of `vtopo stats` on a terminal, read anew until Ctrl-C. rich is imported with this module."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from vtopo.run.rates import Reading

Tables: TypeAlias = "Sequence[tuple[Sequence[str], Sequence[tuple[str, ...]]]]"
_OTHER_LINES = 6  # heads, a gap, the last line


def follow(
    lab: str,
    before: Reading,
    read: Callable[[], Reading],
    interval: float,
    tables: Callable[[Reading, Reading], Tables],
) -> None:
    """Show the tables in place, every `interval` seconds, until Ctrl-C: that is how one leaves, and no failure."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console()
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        wait = min(interval, 0.5)
        while True:
            time.sleep(wait)
            now = read()
            live.update(_shown(lab, tables(before, now), console.height), refresh=True)
            before, wait = now, interval


def _shown(lab: str, tables: Tables, height: int) -> Group:
    """As many rows as the terminal has room for, of each table its share."""
    rows = sum(len(rows) for _, rows in tables)
    room = max(height - _OTHER_LINES, 4)
    parts: list[Table | Text] = []
    left_out = 0
    for heads, all_ in tables:
        most = len(all_) if rows <= room else max(len(all_) * room // rows, 2)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for at, head in enumerate(heads):
            table.add_column(head, justify="left" if at == 0 or head == "KIND" else "right", no_wrap=True)
        for row in all_[:most]:
            table.add_row(*map(Text, row))
        left_out += len(all_) - len(all_[:most])
        parts.append(table)
    more = f"{left_out} more with `vtopo stats {lab} --once`; " if left_out else ""
    return Group(*parts, Text(f"{more}Ctrl-C ends", style="dim"))
