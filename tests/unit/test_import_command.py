"""`vtopo import` as a command: where it writes, what it refuses, and how quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vtopo.cli.main import run
from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import check_source
from vtopo.compile.resources import Container
from vtopo.lang.source import Source

COMPOSE = """
services:
  web:
    image: nginx
    volumes: [./html:/html]
    build_: x
"""


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    file = tmp_path / "shop/compose.yaml"
    file.write_text(COMPOSE)
    return file


def test_the_lab_is_on_standard_output_and_the_rest_on_the_other(
    compose: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", "compose", str(compose)]) == 0
    out, err = capfd.readouterr()
    assert check_source(Source("x.vlab", out)).lab is not None
    assert "lab shop\n" in out
    assert '  bind "html" -> "/html"\n' in out
    assert "  # build_: x\n" in out
    assert "1 container, 1 bridge, 1 link; 1 thing without an equivalent, in comments" in err


def test_paths_are_as_seen_from_the_lab(
    compose: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labs").mkdir()
    output = tmp_path / "labs/shop.vlab"
    assert run(["import", "compose", str(compose), "-o", str(output)]) == 0
    assert '  bind "../shop/html" -> "/html"\n' in output.read_text()
    assert capfd.readouterr().out == ""


def test_a_relative_bind_is_the_folder_beside_the_lab() -> None:
    lab = check_source(Source("labs/x.vlab", 'container a { image "b"; bind "../html" -> "/html" }')).lab
    assert lab is not None
    container = next(r for r in compile_lab(lab, "/home/ann") if isinstance(r, Container))
    assert [m.source for m in container.mounts] == ["/home/ann/html"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["compose", "none.yaml"], 2, "cannot read none.yaml: no such file or directory"),
        (["compose", "."], 2, "cannot read .: is a directory"),
        (["compose", "binary"], 2, "is not UTF-8 text"),
        (["compose", "huge"], 2, "it is larger than 1 MB"),
        (["compose", "deep"], 2, "nest"),
        (["compose", "stray"], 2, "a character that no text has"),
        (["compose", "empty"], 2, "there is nothing in this file"),
        (["containerlab", "shop/compose.yaml"], 2, "this is no containerlab topology"),
        (["compose", "shop/compose.yaml", "-o", "shop/compose.yaml"], 2, "is the file itself"),
        (["compose", "shop/compose.yaml", "-o", "no/x.vlab"], 2, "there is no folder no"),
        (["compose", "shop/compose.yaml", "-o", "/dev/full"], 2, "something that is not a file"),
        (["podman", "shop/compose.yaml"], 2, "is not one of"),
    ],
)
def test_what_cannot_be(
    arguments: list[str],
    status: int,
    said: str,
    compose: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(compose.parents[1])
    for name, data in {
        "binary": b"\x00\xff\xfe",
        "huge": b"a: b\n" * 300_000,
        "deep": b"[" * 10_000,
        "stray": b"a: \x01" + b"\x02" * 900_000,
        "empty": b"",
    }.items():
        Path(name).write_bytes(data)
    before = time.process_time()
    assert run(["import", *arguments]) == status
    assert time.process_time() - before < 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
