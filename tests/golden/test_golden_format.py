"""The formatter against golden files: a lab as someone wrote it above, the canonical one below."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import canonical
from vtopo.lang.source import Source

HERE = Path(__file__).parent
LABS = HERE.parents[1] / "labs"
MARK = "======== fmt\n"


def formatted(name: str, text: str) -> str:
    diagnostics = Diagnostics()
    result = canonical(Source(name, text), diagnostics)
    assert result is not None, [f"{d.range}: {d.message}" for d in diagnostics]
    return result


@pytest.mark.parametrize("path", sorted((HERE / "format").glob("*.txt")), ids=lambda p: p.stem)
def test_the_canonical_layout(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text(encoding="utf-8").partition(MARK)[0]
    want = f"{written}{MARK}{formatted(path.name, written)}"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(want, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == want, f"{path.name} differs; `make golden` rewrites it"


@pytest.mark.parametrize("path", sorted(LABS.glob("*.vlab")), ids=lambda p: p.stem)
def test_the_example_labs_are_canonical(path: Path) -> None:
    text = path.read_bytes().decode()
    assert formatted(path.name, text) == text, "`vtopo fmt labs/*.vlab` makes them so"
