"""Backends that are loaded when they are asked for something say of themselves just what they would be."""

from __future__ import annotations

import subprocess
import sys

from vtopo.backends.later import Later, loaded
from vtopo.cli.world import backends_of


def test_each_has_the_kinds_of_what_it_loads() -> None:
    there = backends_of("some")
    late = [backend for backend in there if isinstance(backend, Later)]
    assert len(late) == 8
    for backend in late:
        made = loaded(backend)
        assert not isinstance(made, Later)
        assert loaded(backend) is made
        assert made.kinds == backend.kinds
        assert made.slow.keys() == backend.slow.keys()
    kinds = [kind for backend in there for kind in backend.kinds]
    assert len(kinds) == len(set(kinds))


def test_what_a_lab_has_nothing_of_is_not_loaded() -> None:
    program = """
import sys
from vtopo.cli.world import backends_of
from vtopo.run.backends import Backends
Backends(backends_of("some"))
print(sorted(m for m in sys.modules if m.startswith("vtopo.backends.") and
  any(w in m for w in ("docker", "domains", "life", "cgroups", "uplinks"))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
