"""What hosts have written is thrown away with them: one by one, or all together."""

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


def test_some_go_at_once(scratch: Scratch) -> None:
    scratch.drop_layers(["h7", "h8", "never there"])
    assert len(left(scratch)) == 98
    assert sorted(path.name for path in scratch.path.iterdir()) == ["hosts"]
    scratch.drop_layers([f"h{number}" for number in range(99)])
    assert left(scratch) == ["h99"], "many, but not all"


def test_all_of_many_are_out_of_the_way_at_once_and_gone_with_the_next(scratch: Scratch) -> None:
    scratch.drop_layers(f"h{number}" for number in range(100))
    assert left(scratch) == []
    again = scratch.host("h7") / "upper"
    again.mkdir(parents=True)
    scratch.drop_layers(["h3"])
    assert sorted(path.name for path in scratch.path.iterdir()) == ["hosts"]
    assert left(scratch) == ["h7"]
    assert list(again.iterdir()) == []
