"""The commands of the documents print what the documents say, each document in a machine view of its own.

The view is a mount and a pid namespace: /run, the state and the list of processes are empty there, so that
the labs have the names of the documents whatever else runs. `--rewrite-golden` writes what is printed now
into the documents, for review in the diff.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCUMENTS, FOLDER, ROOT, Block, agree, blocks, transcript

MARK = "@@@@ next"
RUN = [d for d in DOCUMENTS if any(b.kind == "console" and "run" in b.words for b in blocks(d))]
NEEDED = ("ip", "ping", "dot", "unshare")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SETUP = r"""
awk '$5 ~ /^\/run\// { print $5 }' /proc/self/mountinfo | sort -r |
  while read -r at; do umount -l "$at" 2>/dev/null; done
mount -t tmpfs run /run && cd "$0" && exec bash script
"""


def installed(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


def script(document: Path) -> tuple[str, list[tuple[Block, str, str]]]:
    """A shell script of all that a document runs, and its commands with what each is said to print."""
    lines: list[str] = []
    steps: list[tuple[Block, str, str]] = []
    for block in blocks(document):
        files = [word for word in block.words if word.endswith((".vlab", ".yaml"))]
        if block.kind in ("vlab", "yaml") and files:
            lines.append(f"cat > {files[0]} <<'VLAB'\n{block.text}VLAB")
        elif block.kind == "console" and "run" in block.words:
            needs = [word.partition("=")[2] for word in block.words if word.startswith("needs=")]
            if not all(map(installed, needs)):
                continue
            for command, said in transcript(block.text):
                steps.append((block, command, said))
                # The status of the command before is there for `echo $?`.
                lines.append(f"status=$?; printf '%s\\n' '{MARK}'; (exit $status)\n{command}")
    return "\n".join(lines) + "\n", steps


def run(text: str, folder: Path) -> list[str]:
    """What each command printed, on both streams."""
    shutil.copytree(ROOT / "labs", folder / "labs")
    (folder / "script").write_text(text, encoding="utf-8")
    programs = folder / ".bin"
    programs.mkdir()
    (programs / "vtopo").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vtopo "$@"\n')
    (programs / "vtopo").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{PATH}",
        "PYTHONPATH": str(ROOT),
        "VTOPO_STATE_DIR": str(folder / ".state"),
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "TERM": "dumb",
    }
    view = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*view, "sh", "-c", SETUP, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
        env=environment,
    )
    seen = done.stdout.replace(str(folder), FOLDER)
    return [part.strip("\n") for part in seen.split(f"{MARK}\n")[1:]]


@pytest.mark.parametrize("document", RUN, ids=lambda d: d.name)
def test_what_the_documents_say_is_what_is_printed(
    document: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    missing = [program for program in NEEDED if not installed(program)]
    if missing:
        pytest.skip(f"the documents' commands need {', '.join(missing)}")
    text, steps = script(document)
    seen = run(text, tmp_path)
    assert len(seen) == len(steps), seen[-1:]
    wrong = [
        f"{block}: $ {command}\n--- said\n{said}\n--- printed\n{printed}"
        for (block, command, said), printed in zip(steps, seen, strict=True)
        if not agree(said, printed)
    ]
    if request.config.getoption("--rewrite-golden"):
        rewrite(document, steps, seen)
        return
    assert not wrong, "\n\n".join(wrong)


def rewrite(document: Path, steps: list[tuple[Block, str, str]], seen: list[str]) -> None:
    """Put what was printed in the place of what disagrees with it."""
    printed: dict[int, list[str]] = {}
    for (block, command, said), now in zip(steps, seen, strict=True):
        output = said if agree(said, now) else now
        lines = [f"$ {command}", *([output] if output else [])]
        printed.setdefault(block.start, []).append("\n".join(lines) + "\n")
    text = document.read_text(encoding="utf-8")
    for block in reversed([b for b in blocks(document) if b.start in printed]):
        text = text[: block.start] + "".join(printed[block.start]) + text[block.start + len(block.text) :]
    document.write_text(text, encoding="utf-8")
