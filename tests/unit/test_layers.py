"""What hosts have written is thrown away with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtopo.backends.scratch import Scratch


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    made = Scratch("some", tmp_path)
    for number in range(100):
        layer = made.host(f"h{number}")
        (layer / "upper/etc").mkdir(parents=True)
        (layer / "upper/etc/hostname").write_text("h\n")
        (layer / "work/work").mkdir(parents=True)
    (made.host("h7") / "upper/mine").write_text("what it has written")
    return made


def left(scratch: Scratch) -> list[str]:
    return sorted(path.name for path in (scratch.path / "hosts").iterdir())


def test_they_go_with_all_that_is_in_them(scratch: Scratch) -> None:
    scratch.drop_layers(["h7", "h8", "never there"])
    assert len(left(scratch)) == 98
    scratch.drop_layers([f"h{number}" for number in range(99)])
    assert left(scratch) == ["h99"]
