"""What is put together of looks at namespaces: only what all of them agree on, and what both ends are known of."""

import dataclasses

from vtopo.backends.looks import (
    NO_LOOKS,
    Dumped,
    Look,
    covered,
    from_text,
    is_clear,
    merged,
    to_text,
    told_of,
)
from vtopo.run.looking import Seen

LINKS, OTHER_LINKS, ADDRESSES = (
    Dumped(18, ((), (8, 16, 20, 24)), b"a"),
    Dumped(18, ((),), b"b"),
    Dumped(22, (), b"c"),
)


def test_what_two_looks_saw_differently_is_not_clear() -> None:
    assert is_clear({LINKS, ADDRESSES})
    assert is_clear({LINKS, Dumped(*dataclasses.astuple(LINKS))})
    assert not is_clear({LINKS, OTHER_LINKS, ADDRESSES})
    assert not is_clear({LINKS, None})


def test_nothing_that_was_seen_is_forgotten() -> None:
    def seen(*dumps: Dumped | None) -> Seen:
        return Seen(set(), {}, {"a": set(dumps)})

    together = seen(LINKS).with_(seen(OTHER_LINKS)).with_(seen(LINKS))
    assert together.gone_by == {"a": {LINKS, OTHER_LINKS}}
    assert seen(None).with_(seen(LINKS)).gone_by == {"a": {None, LINKS}}


def test_a_pair_is_known_by_both_of_its_ends() -> None:
    looks = {"a": Look((LINKS,), ("a/address",), ("a--b", "a--c")), "b": Look((LINKS,), (), ("a--b",))}
    assert covered(looks) == {"a/address", "a--b"}
    assert covered({"a": Look((LINKS,), (), ("a--a", "a--a"))}) == {"a--a"}
    assert told_of(looks, ["a"]) == {"a/address", "a--b", "a--c"}


def test_a_look_is_read_back_as_it_was_written() -> None:
    looks = {"a": Look((LINKS, ADDRESSES), ("x", "y"), ("a--b",)), "b": Look((LINKS,))}
    assert from_text(to_text(looks)) == looks
    assert "\n" not in to_text(looks)
    assert to_text({}) == NO_LOOKS


def test_what_was_touched_is_not_kept() -> None:
    one, other = Look((LINKS,)), Look((OTHER_LINKS,))
    old, fresh = to_text({"a": one, "b": one, "c": one}), to_text({"b": other, "d": other, "e": other})
    assert from_text(merged(old, {"b"}, fresh, {"c", "e"})) == {"a": one, "b": other, "d": other}
    assert from_text(merged(old, {"b"}, NO_LOOKS, ())) == {"a": one, "c": one}
