"""The front end on anything at all: it ends, it raises nothing, and what it says has a place in the text."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import given, settings
from hypothesis import strategies as st

from vtopo.compile.artefacts import artefacts
from vtopo.compile.frontend import check_source
from vtopo.lang.render import TAB, render
from vtopo.lang.source import Source

LABS = [p.read_text() for p in sorted((Path(__file__).parents[2] / "labs").glob("*.vlab"))]
WORDS = [
    *(
        "lab",
        "host",
        "bridge",
        "link",
        "overlay",
        "vtep",
        "expect",
        "not",
        "none",
        "on",
        "off",
        "reaches",
        "within",
    ),
    *(
        "via",
        "default",
        "a",
        "b",
        "lan",
        "h",
        "host1",
        "br0",
        "subnet",
        "mtu",
        "forward",
        "route",
        "address",
        "mac",
    ),
    *("vni", "port", "remote", "eth0", '"eth0"', '"x', "64", "9000", "16777216", "99999999999999999999"),
    *(
        "{",
        "}",
        "[",
        "]",
        ";",
        ":",
        ".",
        ",",
        "--",
        "..",
        "*",
        "-",
        "@",
        '"',
        "#",
        "(",
        ")",
        "\n",
        "\n",
        "\t",
        "\r\n",
    ),
    *("1", "0", "3..1", "1..3", "[1..3]", "[*]", "[2,3]", "10s", "5%", "1.5", "02:00:00:00:00:01"),
    *("10.0.0.1/24", "10.0.0.0/30", "10.0.0.1", "2001:db8::1/64", "::"),
]
SECONDS = 10


@contextmanager
def bounded() -> Iterator[None]:
    """A front end that does not end fails the test instead of hanging it."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(text: str) -> None:
    source = Source("any.vlab", text)
    lines = text.count("\n") + 1
    with bounded():
        checked = check_source(source)
        for diagnostic in checked.diagnostics:
            assert 1 <= diagnostic.range.line <= lines
            shown = diagnostic.message.replace("\t", " " * TAB)
            assert shown in render(diagnostic, {source.path: source})
        if checked.lab is not None and len(checked.lab.hosts) < 2000:
            artefacts(checked.lab)
        else:
            assert checked.lab is not None or checked.diagnostics.failed


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join))
def test_survives_any_sequence_of_words(text: str) -> None:
    survives(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_survives_any_text(text: str) -> None:
    survives(text)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An example lab with some stretches taken out, doubled, or replaced by a word."""
    text = draw(st.sampled_from(LABS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        put = draw(st.sampled_from(["", " ", text[start:end] * 2, *WORDS]))
        text = text[:start] + put + text[end:]
    return text


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_survives_labs_with_mistakes(text: str) -> None:
    survives(text)
