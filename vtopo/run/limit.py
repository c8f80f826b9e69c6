"""How much of what is slow may go on at once: what the machine's CPUs and memory carry."""

from __future__ import annotations

from collections.abc import Callable

from vtopo.backends import machine
from vtopo.backends.base import Weight


class Limit:
    """Admits steps by their weights, one at least, so that every step gets its turn.

    With `jobs`, that many at once, whatever the CPUs; memory counts in any case. What goes on has perhaps not
    yet taken the memory that it will take, so it is reserved until it is over.
    """

    def __init__(
        self,
        jobs: int | None = None,
        cpus: int | None = None,
        available: Callable[[], int] = machine.available_memory,
    ) -> None:
        self._jobs = jobs
        self._cpus = machine.cpus() if cpus is None else cpus
        self._available = available
        self._count = 0
        self._cpu = 0.0
        self._memory = 0

    def admits(self, weight: Weight) -> bool:
        """Whether a step of this weight may begin now."""
        if not self._count:
            return True
        if self._jobs is not None and self._count >= self._jobs:
            return False
        if self._jobs is None and self._cpu + weight.cpu > self._cpus:
            return False
        return not weight.memory or self._memory + weight.memory <= self._available()

    def begin(self, weight: Weight) -> None:
        """A step of this weight begins."""
        self._count += 1
        self._cpu += weight.cpu
        self._memory += weight.memory

    def end(self, weight: Weight) -> None:
        """It is over."""
        self._count -= 1
        # Nothing under way weighs nothing, whatever the sums of fractions say.
        self._cpu = self._cpu - weight.cpu if self._count else 0.0
        self._memory -= weight.memory
