"""Lines that differ in their digits alone: parsed once, and read as if each were parsed."""

import re
from unittest import mock

import pytest

from vtopo.lang import ast
from vtopo.lang.alike import Alike
from vtopo.lang.diagnostics import Diagnostics, Enough
from vtopo.lang.grammar import grammar
from vtopo.lang.parser import DEEPEST, parse
from vtopo.lang.source import Source


def read(text: str) -> tuple[ast.File, list[str], int]:
    """The tree of a text, what is wrong with it and where, and how many lines were not parsed."""
    source = Source("x.vlab", text)
    known: list[int] = []

    def counted(self: Alike, number: int, room: int) -> tuple[ast.Statement, int] | None:
        found = ask(self, number, room)
        known.extend([number] if found is not None else [])
        return found

    ask = Alike.read
    found, expected = Diagnostics(), Diagnostics()
    with mock.patch.object(Alike, "read", counted):
        tree = outcome(source, found)
    with mock.patch.object(Alike, "read", return_value=None):
        assert tree == outcome(source, expected)
    assert (list(found), found.dropped) == (list(expected), expected.dropped)
    return tree, [f"{d.code} {d.range}" for d in found], len(known)


def outcome(source: Source, diagnostics: Diagnostics) -> ast.File:
    """The tree, an empty one if so much is wrong that nobody reads on."""
    try:
        return parse(source, diagnostics)
    except Enough:
        return ast.File(source.path)


def test_no_terminal_tells_one_digit_from_another() -> None:
    found = grammar()
    assert not any(c.isdigit() for c in "".join(found.words))
    for kind, pattern in found.patterns.items():
        bare = re.sub(r"\{[0-9]+(,[0-9]*)?\}", "", pattern.replace("0-9", ""))  # without how often
        assert not any(c.isdigit() for c in bare), kind
        assert "\\d" not in bare, kind


@pytest.mark.parametrize(
    "line",
    [
        "host h@",
        "host h[1..@] : router { mtu 150@; sysctl net.ipv4.ip_forward 1 }",
        "link h[@] 10.0.0.@/31 -- h[1]:eth@ 10.0.0.2/31 { -> { rate @0Mbit }; mtu 1400 }  # @",
        'link a:"x@" 2001:db8::@/64 -- b none; host z@',
        "bridge br@ { subnet 10.0.@.0/24; mac 02:00:00:00:0@:0A }",
        "pool p@ 10.@.0.0/16 split /3@",
        "overlay o@ { vni 10@; vtep h@:eth0 -- br1 }",
        "expect h1 reaches h@ on tcp 8@ within 1.@s",
        "expect path h1 -> h@ through h3, h@",
        "expect loss h@ -> h2 <= @%",
        'expect not h@ runs "ping -c @ 10.0.0.1" prints "@ received"',
        "let x@ = (1 + @) * 2 > 4 and not off ? [5, 6..@] : subnet(10.@.0.0/16, 24, 9)",
    ],
)
def test_a_further_line_is_read_without_being_parsed(line: str) -> None:
    others = [line.replace("@", digit) for digit in "22011"]
    tree, wrong, known = read("\n\n  # 1\n".join(others) + "\n")
    assert (wrong, known) == ([], 3)
    assert len({repr(statement) for statement in tree.statements}) >= 5


@pytest.mark.parametrize(
    "line",
    [
        "for i in 1..3 { host x1 }",
        'env A "${n + 1}"',
        'env A "\\t1"',
        "host a1 {",
        "mtu 1",
        "link a1 -- b1 {  # 1",
        "let n = 1234567890123456789",
        "let n = [1,",
        'run """1"""',
        "host a1\r",
        "@ 1",
        "pool p1 10",
        "expect 1",
        "a.b 1",
        "let x = " + " + ".join(["1"] * 100),
        "} else { x 1; y 1 }\nif a1 {",
        "mtu 1 }; host b1 { mtu 1; ttl 1",
        "mtu 1 } -- b1 { mtu 1; ttl 1",
        "link a1 -- b1 { mtu 1 } }; host c1 { mtu 1; mtu 2",
        "let a = (1;",
    ],
)
def test_what_is_not_known_to_follow_from_a_line_s_digits_is_read_all_the_same(line: str) -> None:
    for after in ("", "\n2]", "\n}", "\n2 }\nhost b1", '\n"""'):
        for nested in (False, True):
            lines = "\n".join(f"{re.sub('[1-9]', digit, line)}{after}" for digit in "123456")
            read(f"host b {{\n{lines}\n}}\n" if nested else lines)
    read("\n".join(["host b", *(re.sub("[1-9]", digit, line) for digit in "123456" * 400)]) + "\n")


def test_the_last_line_needs_no_end() -> None:
    tree, wrong, known = read("host a\nhost b1\nhost b2\nhost b3\nhost b4")
    assert (len(tree.statements), wrong, known) == (5, [], 1)
    _, wrong, known = read("host a\r\nhost b1\r\nhost b2\r\nhost b3\r\nhost b4\r")
    assert (wrong, known) == (["E0102 x.vlab:5:8"], 1)


def test_lines_without_a_statement_are_not_known() -> None:
    for text in ("# 1\nhost a\n# 2\n# 3\n", "\n\nhost a", ";\n;\n;\n", "@ 1\n@ 2\n@ 3\n"):
        assert read(text)[2] == 0


def test_what_is_wrong_and_ignored_is_not_known_either() -> None:
    diagnostics = Diagnostics()
    diagnostics.ignored = frozenset({"E0101", "E0102"})
    assert parse(Source("x.vlab", "pool p1 10\n@ 1\n" * 4), diagnostics) == ast.File("x.vlab")


def test_a_statement_without_end_takes_no_stack() -> None:
    for line in ("let x = " + " + ".join(["1"] * 600), "let x = " + "(" * 400 + "1" + ")" * 400):
        diagnostics = Diagnostics()
        tree = parse(Source("x.vlab", f"host a\n{line}\n{line}\n{line}\n"), diagnostics)
        assert (len(tree.statements), len(diagnostics)) == (4, 0)


def test_an_address_that_is_none_is_told_at_its_place() -> None:
    lines = [f"link a{n} 10.0.0.{n}/31 -- b{n}\n" for n in (254, 255, 253, 256, 252)]
    _, wrong, known = read("host a\n" + "".join(lines))
    assert (wrong, known) == (["E0105 x.vlab:5:11"], 2)


def test_what_follows_a_known_statement_on_its_line_is_read_and_told_as_ever() -> None:
    lines = [f"host a{n}; host b{n}{' @' if n == 4 else ''}\n" for n in range(1, 6)]
    tree, wrong, known = read("host a\n" + "".join(lines))
    assert (len(tree.statements), wrong, known) == (10, ["E0102 x.vlab:5:18"], 2)


def test_a_known_line_is_refused_too_where_its_blocks_are_too_deep() -> None:
    line = "host a1 { host b1 { mtu 1 } }"
    for depth, known in ((DEEPEST - 2, 3), (DEEPEST - 1, 0), (DEEPEST, 0)):
        text = f"{line}\n" * 2 + "host c {\n" * depth + f"{line}\n" + "}\n" * depth
        _, wrong, read_again = read(text)
        assert read_again == (1 if known else 0)
        assert bool(wrong) == (not known)
