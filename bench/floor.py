"""The kernel's floor: floor.c compiled on the spot, or its slower stand-in in Python where there is no compiler."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.labs import Shape
from bench.processes import CommandError, run
from bench.record import Contender, Figure, Measurement
from bench.session import Session

_HERE = Path(__file__).parent
_COMPILE_SECONDS = 60.0


class Floor:
    """The floor in a scratch folder of its own."""

    contender = Contender.FLOOR

    def __init__(self, scratch: Path, timeout: float) -> None:
        self._scratch = scratch
        self._timeout = timeout
        self._command = self._compile() or [sys.executable, "-I", "-S", str(_HERE / "floor_stand_in.py")]

    @property
    def note(self) -> str | None:
        """What to know about these numbers."""
        if self._command[0] == sys.executable:
            return "no C compiler: the floor is the Python stand-in, slower than the true floor"
        return None

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]:
        """One lab up and down."""
        mount_point = self._scratch / "floor.mnt"
        mount_point.mkdir(exist_ok=True)
        with Session([*self._command, shape.value, str(size), str(mount_point)], self._timeout) as session:
            up, _ = session.up()
            yield Measurement(self.contender, shape.value, size, Figure.UP, up)
            down, _ = session.down()
            yield Measurement(self.contender, shape.value, size, Figure.DOWN, down)

    def _compile(self) -> list[str] | None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            return None
        binary = self._scratch / "floor"
        try:
            run([compiler, "-O2", "-o", str(binary), str(_HERE / "floor.c")], _COMPILE_SECONDS)
        except CommandError:
            return None  # a compiler without headers is no compiler
        return [str(binary)]
