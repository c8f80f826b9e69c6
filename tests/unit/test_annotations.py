"""GitHub annotations: what is written for a diagnostic can be read back as GitHub's runner reads it."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtopo.cli.main import run
from vtopo.lang.annotations import annotation
from vtopo.lang.diagnostics import Diagnostic, Label
from vtopo.lang.source import Range

WORDS = st.text(st.characters(codec="utf-8"), max_size=30)


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner takes it apart (actions/runner, ActionCommand.cs): up to the first `::`."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match is not None, line

    def plain(text: str, escapes: tuple[str, ...]) -> str:
        for escape in escapes:
            text = text.replace(escape, chr(int(escape[1:], 16)))
        return text.replace("%25", "%")

    pairs = (pair.partition("=") for pair in match[2].split(","))
    properties = {name: plain(value, ("%0D", "%0A", "%3A", "%2C")) for name, _, value in pairs}
    return match[1], properties, plain(match[3], ("%0D", "%0A"))


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is none of its business
@given(WORDS, WORDS, WORDS, WORDS)
def test_any_text_survives(path: str, message: str, label: str, help: str) -> None:
    place = Range(path, 3, 5, 3, 9)
    kind, properties, text = parsed(annotation(Diagnostic("E0302", message, place, label, (), help)))
    assert kind == "error"
    assert properties["file"] == path
    assert properties["title"] == f"E0302: {message}"
    assert text.startswith(label or message)
    assert not help or f"help: {help}" in text


def test_columns_are_given_on_one_line_only() -> None:
    one = parsed(annotation(Diagnostic("W0601", "m", Range("a", 3, 5, 3, 9))))
    assert one[0] == "warning"
    assert one[1] == {
        "title": "W0601: m",
        "file": "a",
        "line": "3",
        "endLine": "3",
        "col": "5",
        "endColumn": "9",
    }
    many = parsed(annotation(Diagnostic("E0104", "m", Range("a", 3, 5, 4, 2))))
    assert many[1] == {"title": "E0104: m", "file": "a", "line": "3", "endLine": "4"}


def test_further_places_are_said() -> None:
    other = Label(Range("b.vlab", 7, 1, 7, 2), "first declared here")
    text = parsed(annotation(Diagnostic("E0301", "m", Range("a", 3, 5, 3, 9), "again", (other,))))[2]
    assert text == "again\nb.vlab:7:1: first declared here\n`vtopo explain E0301` says more"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("good.vlab").write_text("host a\n")
    Path("bad.vlab").write_text("host a\nlink a -- b\n")
    return tmp_path


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--format", "github", "bad.vlab", "good.vlab"]) == 2
    found, said = capsys.readouterr().out.splitlines()
    assert parsed(found)[1]["file"] == "bad.vlab"
    assert said == "good.vlab: ok, 1 host"
    assert run(["check", "--format", "github", "-q", "good.vlab"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_is_in_no_file_names_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"link a -- a")))
    assert run(["check", "--format", "github", "-"]) == 2
    assert "file" not in parsed(capsys.readouterr().out.splitlines()[0])[1]


def test_more_than_are_kept_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.vlab").write_text("".join(f"link a{n} -- b\n" for n in range(200)))
    assert run(["check", "--format", "github", "bad.vlab"]) == 2
    assert re.fullmatch(
        r"::error::bad.vlab: \d+ more are not shown", capsys.readouterr().out.splitlines()[-1]
    )


def test_the_forms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--format", "json", "bad.vlab"]) == 2
    written = capsys.readouterr().out
    assert run(["check", "--json", "bad.vlab"]) == 2
    assert capsys.readouterr().out == written
    assert run(["check", "--json", "--format", "github", "bad.vlab"]) == 2
    assert "two forms" in capsys.readouterr().err
    assert run(["check", "--format", "xml", "bad.vlab"]) == 2
