"""Trials from inside of a guest, whose network namespace nobody else can enter: by the programs that it has."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from vtopo.backends.guest_access import Access
from vtopo.backends.guest_commands import GivenUpError
from vtopo.backends.trials.verdict import TIMED_OUT, Seen, end_of, of_command
from vtopo.values import dataclass

COUNT, INTERVAL = 20, 0.1
"""Echoes in a row, and the seconds between two."""
_LONGER = 30.0
"""Seconds on top of what is left that a command may take: to log in, where all is emulated, takes some."""

_CONNECT = """
if command -v bash && command -v timeout; then exec timeout 2 bash -c ': </dev/tcp/$0/$1' "$1" "$2"
elif command -v python3; then
  exec python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' "$1" "$2"
elif ! command -v nc; then exit 99
elif nc -h 2>&1 | grep -q -e -z; then exec nc -z -w 2 "$1" "$2"
else exec nc -w 2 "$1" "$2" -e true
fi >/dev/null
"""
_NO_PROGRAM, _NOT_FOUND = 99, 127
_TIME = re.compile(r"time[=<]([0-9.]+)")
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) (?:packets )?received")
_MEAN = re.compile(r"min/avg/max\S* = [0-9.]+/([0-9.]+)/")


@dataclass(frozen=True, slots=True)
class Guest:
    """The guest of the VM `node`. What its methods raise is a BackendError: nothing was tried then."""

    access: Access
    node: str

    def reaches(self, address: IPv4Address | IPv6Address, left: float) -> Seen:
        """Whether an echo comes back."""
        status, said = self._run(["ping", "-c", "1", "-W", "1", str(address)], left)
        if status == _NOT_FOUND:
            return Seen(False, f"`{self.node}` has no ping", tried=False)
        trip = _TIME.search(said)
        if status != 0 or trip is None:
            return Seen(False, f"{address}: {end_of(said) if 'bad' in said else 'no answer'}")
        return Seen(True, f"{address}: {float(trip[1]):.2f} ms")

    def connects(self, address: IPv4Address | IPv6Address, port: int, left: float) -> Seen:
        """Whether a TCP connection comes about."""
        status, said = self._run(["/bin/sh", "-c", _CONNECT, "sh", str(address), str(port)], left)
        if status == _NO_PROGRAM:
            return Seen(False, f"`{self.node}` has none of bash, python3 and nc", tried=False)
        return Seen(status == 0, f"{address} port {port}: {'connected' if status == 0 else end_of(said)}")

    def output(self, command: str | tuple[str, ...], prints: str | None, left: float) -> Seen:
        """Whether a command succeeds, and prints a text."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        return of_command(*self._run(argv, left), prints)

    def row(self, address: IPv4Address | IPv6Address, left: float) -> tuple[float, float | None] | Seen:
        """The share of echoes in a row that did not come back, and the mean one way in seconds, of those that did."""
        argv = ["ping", "-q", "-c", str(COUNT), "-i", str(INTERVAL), "-W", "1", str(address)]
        status, said = self._run(argv, left)
        counts = _COUNTS.search(said)
        if counts is None or not int(counts[1]):
            return Seen(False, f"{address}: {end_of(said)}", tried=status != _NOT_FOUND)
        mean = _MEAN.search(said)
        lost = 1 - int(counts[2]) / int(counts[1])
        return lost, float(mean[1]) / 2000 if mean else None

    def _run(self, argv: Sequence[str], left: float) -> tuple[int, str]:
        end = time.monotonic() + left + _LONGER
        try:
            return self.access.run(self.node, argv, lambda: time.monotonic() < end)
        except GivenUpError:
            return TIMED_OUT, "it does not end"
