"""The fenced blocks of README.md and docs/: labs that must compile, and transcripts that must be true.

The word after ``` says what a block is:

    ```vlab                     a lab that compiles without a word
    ```vlab first.vlab          the same, and the file of that name in the transcripts that follow
    ```yaml compose.yaml        a file of another tool, there for the transcripts that follow
    ```vlab error E0302 E0105   a lab that fails with just these codes
    ```vlab warning W0601       a lab that compiles with just these
    ```console run              commands after `$ `, each followed by what it prints
    ```console run needs=X      the same, left out where the program X is not installed
    ```console                  not run: what installs software, or never ends

In a transcript a line of `…` alone stands for any lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDER = "/home/ann/net"
"""Where the documents' commands seem to run."""

_FENCE = re.compile(r"^```(\S*)[ \t]*(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VERDICTS = re.compile(r"(?:^(?:pass|FAIL)  .*\n)+", re.MULTILINE)
_VARYING = [
    (re.compile(pattern, re.MULTILINE), text)
    for pattern, text in (
        (r"(?<=^rtt min/avg/max/mdev = ).*", "#"),
        (r"(?<=icmp_seq=1 ttl=64 time=).*", "#"),
        (r"\b\d+(\.\d+)? ms\b", "# ms"),
        (r"\b\d+(\.\d+)? s\b", "# s"),
        (r"(?<=time )\d+ms", "#ms"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
        (r"\b\d\d:\d\d:\d\d\.\d{6}\b", "TIME"),
        (r'("(?:created|seconds|time)": )[\d.]+', r"\1#"),
        (r"(?<=[a-z]), \d+ bytes of", ", # bytes of"),
        (r"\bprocess \d+\b", "process #"),
        (r"(?<=@if)\d+", "#"),
        (r"(?<=\d\.)\d{5}(?= > [\d.]+\.4789)", "PORT"),
        (r"(?<=ICMP echo )(request|reply), id \d+", r"\1, id #"),
        (r"[ \t]+$", ""),
    )
]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its first word, the others, its text, and where the text stands in the document."""

    document: Path
    line: int
    kind: str
    words: tuple[str, ...]
    text: str
    start: int

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, m.start()) + 1, m[1], tuple(m[2].split()), m[3], m.start(3))
        for m in _FENCE.finditer(text)
    ]


def transcript(text: str) -> list[tuple[str, str]]:
    """Commands and what each is said to print."""
    steps: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command}\n{more}"
        steps.append((command, output.rstrip("\n")))
    return steps


def normal(text: str) -> str:
    """Text without what differs from run to run; verdicts come in the order of the answers."""
    text = _VERDICTS.sub(lambda m: "".join(sorted(m[0].splitlines(keepends=True))), text)
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


def agree(said: str, seen: str) -> bool:
    """Whether a document says what was seen."""
    parts = [re.escape(part) for part in re.split(r"^…$", normal(said), flags=re.MULTILINE)]
    return re.fullmatch(".*".join(parts), normal(seen), re.DOTALL) is not None
