"""The grammar that is kept is the one that Lark makes of the text, and what cannot be read is made anew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vtopo.lang import grammar


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a grammar is kept that nobody else reads."""
    monkeypatch.setattr(grammar, "_place", lambda: tmp_path / "kept.grammar")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path / "kept.grammar"


def test_what_is_kept_is_what_lark_makes_of_the_text(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = grammar.grammar()
    monkeypatch.setitem(sys.modules, "lark", None)  # whoever needs it from now on fails
    assert grammar.grammar() == made
    assert list(grammar.grammar().patterns) == list(made.patterns), "the order in which they are tried"


@pytest.mark.parametrize("content", [b"", b"x" * 200_000])
def test_what_cannot_be_read_is_made_anew(place: Path, content: bytes) -> None:
    whole = grammar.grammar()  # its states have other numbers each time
    key = place.read_bytes()[:32]
    for damaged in (content, key + content, place.read_bytes()[:-1000]):
        place.write_bytes(damaged)
        made = grammar.grammar()
        assert (made.patterns, len(made.rows)) == (whole.patterns, len(whole.rows))
        assert grammar.grammar() == made, "kept again"
        assert list(place.parent.iterdir()) == [place], "no drafts are left"


def test_another_grammar_is_not_taken_for_the_one_that_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "host" in grammar.grammar().words
    text = grammar.grammar_text().replace('HOST: "host"', 'HOST: "node"')
    monkeypatch.setattr(grammar, "grammar_text", lambda: text)
    assert "node" in grammar.grammar().words
