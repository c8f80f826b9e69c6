"""Mininet, where it is installed: the same labs with its hosts, links and Linux bridges, and no controller."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.labs import PORTS_PER_BRIDGE, Shape
from bench.processes import CommandError, run
from bench.record import Contender, Figure, Measurement
from bench.session import Session

_SCRIPT = Path(__file__).parent / "mininet_lab.py"
_PYTHONS = ("/usr/bin/python3", sys.executable, "python3")
_OWN_NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class MininetRival:
    """Mininet inside namespaces of its own: the machine's links stay out of its reach, and nothing outlives it."""

    contender = Contender.MININET
    note = None

    def __init__(self, python: str, timeout: float) -> None:
        self._command = [*_OWN_NAMESPACES, python, "-I", str(_SCRIPT)]
        self._timeout = timeout

    @classmethod
    def find(cls, timeout: float) -> "MininetRival | None":
        """Mininet by the first Python that can import it."""
        for python in _PYTHONS:
            with suppress(CommandError, FileNotFoundError):
                run([python, "-I", "-c", "import mininet.net"], timeout)
                return cls(python, timeout)
        return None

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]:
        """One lab up and down, by Mininet's own clock: its interpreter's start and imports are not held against it."""
        command = [*self._command, shape.value, str(size), str(PORTS_PER_BRIDGE)]
        with Session(command, self._timeout) as session:
            _, up = session.up()
            yield Measurement(self.contender, shape.value, size, Figure.UP, float(up))
            _, down = session.down()
            yield Measurement(self.contender, shape.value, size, Figure.DOWN, float(down))


def mininet_version(python: str = _PYTHONS[0]) -> str:
    """Mininet's version, or "not installed"."""
    with suppress(CommandError, FileNotFoundError):
        return run([python, "-I", "-c", "from mininet.net import VERSION; print(VERSION)"], 30).output.strip()
    return "not installed"
