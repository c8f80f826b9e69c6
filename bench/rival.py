"""Mininet and munet, where they are installed: the same labs with their hosts, links and bridges."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.labs import PORTS_PER_BRIDGE, Shape
from bench.processes import CommandError, run
from bench.record import Contender, Figure, Measurement
from bench.session import Session

_HERE = Path(__file__).parent
_PYTHONS = (sys.executable, "/usr/bin/python3", "python3")
_OWN_NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# munet wants a parent process in its own pid namespace.
_WITH_A_PARENT = ("sh", "-c", '"$@"; exit $?', "sh")


@dataclass(frozen=True)
class PythonRival:
    """A library's labs, by a script that says "up SECONDS", in namespaces of its own.

    The machine's links stay out of its reach, and nothing outlives it. Its own clock counts: its interpreter's
    start and imports are not held against it. Without `takes_down` it is killed when it is up.
    """

    contender: Contender
    command: tuple[str, ...]
    environment: Mapping[str, str]
    timeout: float
    takes_down: bool

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]:
        """One lab up and, if it can, down."""
        command = [*self.command, shape.value, str(size), str(PORTS_PER_BRIDGE)]
        with Session(command, self.timeout, self.environment) as session:
            _, up = session.up()
            yield Measurement(self.contender, shape.value, size, Figure.UP, float(up))
            if self.takes_down:
                _, down = session.down()
                yield Measurement(self.contender, shape.value, size, Figure.DOWN, float(down))


def mininet(timeout: float) -> PythonRival | None:
    """Mininet by the first Python that can import it."""
    python = _python_with("mininet.net", _PYTHONS)
    if python is None:
        return None
    command = (*_OWN_NAMESPACES, python, "-I", str(_HERE / "mininet_lab.py"))
    return PythonRival(Contender.MININET, command, {}, timeout, takes_down=True)


def munet(scratch: Path, timeout: float, python: str | None) -> PythonRival | None:
    """munet by a Python that is named, or else by the first that can import it; its folders go to `scratch`."""
    found = _python_with("munet.base", (python,) if python else _PYTHONS)
    if found is None:
        return None
    command = (*_OWN_NAMESPACES, *_WITH_A_PARENT, found, "-I", str(_HERE / "munet_lab.py"))
    # Its helper programs stand beside its Python.
    return PythonRival(Contender.MUNET, command, {"TMPDIR": str(scratch)}, timeout, takes_down=False)


def _python_with(module: str, pythons: tuple[str, ...]) -> str | None:
    for python in pythons:
        with suppress(CommandError, FileNotFoundError):
            run([python, "-I", "-c", f"import {module}"], 30)
            return python
    return None


def mininet_version() -> str:
    """Mininet's version, or "not installed"."""
    python = _python_with("mininet.net", _PYTHONS)
    if python is None:
        return "not installed"
    return run([python, "-I", "-c", "from mininet.net import VERSION; print(VERSION)"], 30).output.strip()
