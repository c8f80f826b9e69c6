"""Completion in shells: asked as the shells' scripts ask, and by bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from labs_in_code import pair
from sweep_labs import compiled

from vtopo.backends.base import Handle
from vtopo.cli.main import cli, run
from vtopo.cli.shells import SHELLS, script
from vtopo.state.folder import StateDir
from vtopo.state.store import Store

ROOT = Path(__file__).parents[2]


def asked(line: str, folder: Path = ROOT, shell: str = "bash", **environment: str) -> list[tuple[str, str]]:
    """Types and values that come back for a line whose last word is to be completed."""
    *before, last = line.split(" ")
    given = {"_VTOPO_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(before))}
    done = subprocess.run(
        [sys.executable, "-m", "vtopo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **given, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert last == line.rpartition(" ")[2]
    pairs = (each.partition(",") for each in done.stdout.splitlines() if each)
    return [(kind, value) for kind, _, value in pairs]


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("vtopo che", [("plain", "check")]),
        ("vtopo check --form", [("plain", "--format")]),
        ("vtopo check --format g", [("plain", "github")]),
        ("vtopo check labs/x", [("labs", "labs/x")]),
        ("vtopo fmt a.vlab b", [("labs", "b")]),
        ("vtopo explain E010", [("plain", f"E010{n}") for n in range(1, 7)]),
        ("vtopo completion f", [("plain", "fish")]),
        ("vtopo compile a.vlab -o ", [("dir", "")]),
    ],
)
def test_what_a_word_may_be(line: str, answers: list[tuple[str, str]]) -> None:
    assert asked(line) == answers


def test_nothing_running_is_no_failure(tmp_path: Path) -> None:
    state = str(tmp_path / "none")
    assert asked("vtopo exec a", VTOPO_STATE_DIR=state) == []
    assert asked("vtopo exec --lab nowhere a", VTOPO_STATE_DIR=state) == []
    assert ("labs", "x") in asked("vtopo down x", VTOPO_STATE_DIR=state)


def test_nodes_of_running_labs(tmp_path: Path) -> None:
    with Store.open(StateDir(tmp_path), "shop", "/labs/shop.vlab") as store:
        store.begin("/labs/shop.vlab")
        store.intend(pair())
        store.settle(made=[(resource.id, Handle()) for resource in pair()])
    state = str(tmp_path)
    assert asked("vtopo exec ", VTOPO_STATE_DIR=state) == [("plain", "a"), ("plain", "b")]
    assert asked("vtopo shell --lab shop a", VTOPO_STATE_DIR=state) == [("plain", "a")]
    assert asked("vtopo shell --lab s", VTOPO_STATE_DIR=state) == [("plain", "shop")]
    assert asked("vtopo down ", VTOPO_STATE_DIR=state) == [("plain", "shop"), ("labs", "")]
    assert asked("vtopo exec a ", VTOPO_STATE_DIR=state) == []


def test_interfaces_of_running_labs(tmp_path: Path) -> None:
    resources = compiled("host a; host b; link a -- b\n", "shop")
    with Store.open(StateDir(tmp_path), "shop", "/labs/shop.vlab") as store:
        store.begin("/labs/shop.vlab")
        store.intend(resources)
        store.settle(made=[(resource.id, Handle()) for resource in resources])
    state = str(tmp_path)
    assert asked("vtopo capture ", VTOPO_STATE_DIR=state) == [("plain", "a:eth0"), ("plain", "b:eth0")]
    # Bash parts words at colons, and puts in what follows the last one.
    assert asked("vtopo capture b:eth0 a :", VTOPO_STATE_DIR=state) == [("plain", "eth0")]
    assert asked("vtopo capture a : et", VTOPO_STATE_DIR=state) == [("plain", "eth0")]
    assert asked("vtopo capture a:et", VTOPO_STATE_DIR=state, shell="zsh")[1][0] == "a\\:eth0"


def test_unreadable_records_are_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "labs" / "broken"
    folder.mkdir(parents=True)
    (folder / "state.db").write_text("this is no database")
    assert asked("vtopo exec a", VTOPO_STATE_DIR=str(tmp_path)) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == script(shell, cli).rstrip("\n")
    assert f"_VTOPO_COMPLETE={shell}_complete" in printed
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(printed)
        subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_files_commands_and_folders(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "vtopo"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vtopo "$@"\n')
    program.chmod(0o755)
    work = tmp_path / "work"
    (work / "labs").mkdir(parents=True)
    for name in ("one.vlab", "with space.vlab", "other.txt", "labs/deep.vlab"):
        (work / name).write_text("")
    (tmp_path / "script").write_text(script("bash", cli))
    lines = [
        f"source {tmp_path}/script",
        'try() { COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vtopo_completion vtopo; }',
        'shown() { try "$@"; printf "%s|" "${COMPREPLY[@]}"; echo; }',
        'shown vtopo check ""',
        "shown vtopo check o",
        "shown vtopo check labs/d",
        "shown vtopo gra",
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [sorted(line.strip("|").split("|")) for line in done.stdout.splitlines()] == [
        ["labs", "one.vlab", "with space.vlab"],
        ["one.vlab"],
        ["labs/deep.vlab"],
        ["graph"],
    ]
