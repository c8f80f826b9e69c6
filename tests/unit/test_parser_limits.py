"""The parser on texts that are long where nobody writes long: it ends soon, with one clear word."""

import time

import pytest

from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.parser import LONGEST, parse
from vtopo.lang.source import Source


def messages(text: str) -> list[str]:
    diagnostics = Diagnostics()
    parse(Source("x.vlab", text), diagnostics)
    return [d.message for d in diagnostics]


@pytest.mark.parametrize(
    "text", ["let x = " + "[" * 500_000, "env A " + "b " * 200_000, "a" + " + 1" * 200_000]
)
def test_a_statement_without_end_is_refused_before_it_is_read_to_its_end(text: str) -> None:
    assert "this statement is too long" in messages(f"host a\n{text}\nhost b")


def test_the_broken_part_of_a_statement_without_end_is_not_read_to_its_end_either() -> None:
    assert messages("host a\n" + "@ " * 500_000) == ["this statement is too long", "unexpected character `@`"]


def test_a_long_statement_is_one_that_people_could_have_generated() -> None:
    assert messages(f"let x = [{', '.join('1' * (LONGEST // 2 - 10))}]") == []


def test_errors_after_a_broken_block_deep_inside_are_still_found() -> None:
    text = "host a {\n  bridge b { mtu 1 }\n  @\n  bridge c {\n    @\n    mtu 1500\n  }\n}\nhost b\n@\n"
    diagnostics = Diagnostics()
    tree = parse(Source("x.vlab", text), diagnostics)
    assert [d.range.line for d in diagnostics] == [3, 5, 10]
    assert len(tree.statements) == 2


def test_a_chain_of_ten_thousand_conditions_takes_no_longer_a_link_than_a_short_one() -> None:
    chain = "if x == 0 { host q }" + "".join(f" else if x == {i} {{ host q{i} }}" for i in range(1, 10_000))
    start = time.process_time()
    assert messages(f"let x = 1\n{chain}\n") == []
    assert time.process_time() - start < 8, "copying the stacks for each of them took longer"
