"""What is said, and how a command exits, where its output cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOST = "error: standard output could not be written: no space left on device\n"


def vtopo(*arguments: str, **streams: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vtopo", *arguments]
    given = {"stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, cwd=ROOT, text=True, check=False, timeout=60, **given)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "labs/quickstart.vlab"),
        ("check", "--json", "labs/quickstart.vlab"),
        ("graph", "labs/quickstart.vlab"),
        ("explain", "E0201"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_a_full_disk_is_not_a_fault_of_vtopo(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = vtopo(*arguments, stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, LOST)


def test_what_is_left_of_a_compile_is_named_rightly(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = vtopo("compile", "labs/quickstart.vlab", "-o", str(tmp_path / "out"), stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, LOST)


def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = vtopo("explain", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_closed_streams_are_nobodys(tmp_path: Path) -> None:
    script = f'exec "$0" -m vtopo graph labs/quickstart.vlab -o {tmp_path}/q.dot >&- <&- 2>&-'
    done = subprocess.run(["sh", "-c", script, sys.executable], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "q.dot").read_text().startswith("graph quickstart")
