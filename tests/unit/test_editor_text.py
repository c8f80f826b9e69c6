"""Places in a text: vtopo's lines and columns, and a client's positions in each encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtopo.editor.text import Position, Text

ENCODINGS = ["utf-8", "utf-16", "utf-32"]
TEXTS = st.text(st.sampled_from("aé€😋\n\r #"), max_size=30)


@pytest.mark.parametrize(
    ("encoding", "character"), [("utf-8", 4 + 2 + 3 + 4), ("utf-16", 4 + 1 + 1 + 2), ("utf-32", 4 + 3)]
)
def test_characters_count_units_of_the_encoding(encoding: str, character: int) -> None:
    text = Text("\n# aaé€😋b", encoding)
    offset = text.text.index("b")
    assert text.position(offset + 0) == Position(1, character)
    assert text.offset_of(Position(1, character)) == offset


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, data=st.data())
def test_there_and_back_is_the_same_place(encoding: str, text: str, data: st.DataObject) -> None:
    whole = Text(text, encoding)
    offset = data.draw(st.integers(0, len(text)))
    assert whole.offset(*whole.place(offset)) == offset
    if not (0 < offset < len(text) and text[offset - 1 : offset + 1] == "\r\n"):
        assert whole.offset_of(whole.position(offset)) == offset


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, line=st.integers(0, 40), character=st.integers(0, 99))
def test_what_is_past_an_end_is_that_end(encoding: str, text: str, line: int, character: int) -> None:
    whole = Text(text, encoding)
    assert 0 <= whole.offset_of(Position(line, character)) <= len(text)
    assert 0 <= whole.offset(line, character + 1) <= len(text)


def test_a_lone_carriage_return_ends_a_clients_line_only() -> None:
    text = Text("a\rb\nc")
    assert text.place(2) == (1, 3)
    assert text.position(2) == Position(1, 0)
    assert text.position(4) == Position(2, 0)


def test_a_byte_order_mark_is_no_part_of_the_lab() -> None:
    assert Text("\N{ZERO WIDTH NO-BREAK SPACE}host a").text == " host a"
