"""Messages of few layouts are taken apart as any others are, whatever comes after what."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from vtopo.backends.attributes import Layouts, attributes

WANTED = frozenset((1, 3))
KINDS = st.sampled_from((1, 2, 3, 4, 5, 0x8001, 0x4003))
VALUES = st.lists(st.tuples(KINDS, st.binary(max_size=9)), max_size=6)
GARBAGE = st.sampled_from((b"", b"\0", b"\3\0\1\0", b"\0\0\0\0abcd", b"\xff\xff\1\0x"))


def message(there: list[tuple[int, bytes]], garbage: bytes) -> bytes:
    told = b"".join(
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in there
    )
    return b"head" + told + garbage


@given(st.lists(st.tuples(VALUES, GARBAGE), min_size=1, max_size=12))
def test_each_is_taken_apart_as_if_it_were_the_first(
    messages: list[tuple[list[tuple[int, bytes]], bytes]],
) -> None:
    layouts = Layouts(4, WANTED)
    for there, garbage in messages * 2:
        data = b"before" + message(there, garbage)
        assert layouts.read(data, 6, len(data)) == attributes(data, 10, len(data), WANTED)
