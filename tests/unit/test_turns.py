"""The least that a loop goes round, against going round; too much is refused without being begun."""

from __future__ import annotations

import time

import pytest

from vtopo.compile.frontend import check_source
from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.parser import parse
from vtopo.lang.source import Source
from vtopo.model.scope import Variables
from vtopo.model.turns import least_turns


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("for i in 1..5 { host h[i] }", 10),
        ("for i in 5..1 { host h[i] }", 0),
        ('for i in ["a", "b"] { link a -- b; mtu 9 }', 4),
        ("for i in 1..3, j in 1..2 { }", 3 + 6),
        ("for i in 1..3 { for j in 1..i { host h[i][j] } }", 3 + 6 + 6),
        ("for i in 1..3, j in i..(i * 2) { }", 3 + 2 + 3 + 4),
        ("for i in 1..3 { for j in 1..4 { for k in 1..i { } } }", 3 + 12 + 4 * 6),
        ("for i in 1..n { host a }", 0),
        ("for i in 1..3 { for j in 1..len([1]) { host a }; if on { host b } }", 3),
    ],
)
def test_the_least(text: str, least: int) -> None:
    loop = parse(Source("x.vlab", text), Diagnostics()).statements[0]
    assert isinstance(loop, ast.ForStatement)
    assert least_turns(loop, Variables(None), 10**6) == least


@pytest.mark.parametrize(
    "text",
    [
        "for i in 1..1000000000 { host h[i] }",
        "for i in 1..1000 { for j in 1..1001 { host h[i][j] } }",
        "for i in 1..1000 { for j in 1..(i + 500) { host h[i][j] } }",
        "param n = 1000\nfor i in 1..n { for j in 1..n { host h[i][j] } }",
        "for i in 1..1000000, j in 1..1000000 { }",
        f'let a = "{"${a}" * 20_000}"',
        f'host a {{ env X "{chr(92)}q{(chr(92) + "q") * 100_000}" }}',
    ],
    ids=lambda text: text[:40],
)
def test_what_is_too_much_is_refused_at_once(text: str) -> None:
    before = time.process_time()
    checked = check_source(Source("x.vlab", text))
    assert checked.lab is None
    assert {d.code for d in checked.diagnostics} & {"E0309", "E0106", "E0102"}
    assert time.process_time() - before < 2
