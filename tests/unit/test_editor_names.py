"""Names in a text: what declares them, what they mean where they are used, what an edit costs, what a rename does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtopo.editor.chunks import chunks
from vtopo.editor.facts import Role
from vtopo.editor.index import Cache, Index, Occurrence, build
from vtopo.editor.outline import folds, outline
from vtopo.editor.rename import Refused, renamable, rename
from vtopo.editor.text import Text
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.parser import parse
from vtopo.lang.source import Source

ROOT = Path(__file__).parents[2]
LABS = [path.read_text() for path in sorted((ROOT / "labs").glob("*.vlab"))]
LABS += [
    path.read_text().partition("=====")[0].partition("\n-----")[0]
    for path in sorted((ROOT / "tests/golden/compile").glob("*.txt"))
]


def index(text: str) -> Index:
    return build("any.vlab", text, Cache())


def at(text: str) -> tuple[str, int, int]:
    """A text without its mark `|`, and the line and column of the mark."""
    offset = text.index("|")
    before = text[:offset]
    return before + text[offset + 1 :], before.count("\n") + 1, offset - before.rfind("\n")


def meant(text: str) -> list[str]:
    """Where the name at the mark is declared, as `line:column`."""
    plain, line, column = at(text)
    found = index(plain).at(line, column)
    return [_place(o) for o in index(plain).declarations(found.symbol)] if found is not None else []


def _place(o: Occurrence) -> str:
    return f"{o.range.line}:{o.range.column}"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("host a\nlink |a -- a", ["1:6"]),
        ("host abc\nlink ab|c -- abc", ["1:6"]),
        ("host abc\nlink abc| -- abc", ["1:6"]),
        ("host h[1..3]\nlink |h[2] -- h[1]", ["1:6"]),
        ("host h[1..3]\nlink |h2 -- h1", ["1:6"]),
        ("host h[1..3]\nhost h2\nlink |h2 -- h1", ["2:6"]),
        ('bridge br["red"]\nhost a\nlink a -- |br-red', ["1:8"]),
        ("host pod[1..2][1..2]\nexpect |pod1-2 reaches pod2-1", ["1:6"]),
        ("host a { bridge br }\nhost b { bridge br }\nvtep b:eth0 -- b.|br", ["2:17"]),
        ("host a { bridge br; host w; link w -- |br }\nbridge br", ["1:17"]),
        ("bridge br\nhost a { host w; link w -- |br }", ["1:8"]),
        ("template t { bridge br }\nhost a : t\nlink a.|br -- a", ["1:21"]),
        ("template u { bridge br }\ntemplate t : u { }\nhost a : t\nlink a.|br -- a", ["1:21"]),
        ("host a : |t\ntemplate t { }", ["2:10"]),
        ("param n = 3\nhost h[1..|n]", ["1:7"]),
        ('let n = 3\nhost a { route default via "10.0.0.${|n}" }', ["1:5"]),
        ("for i in 1..3 { host h[|i] }", ["1:5"]),
        ("for i in 1..3, j in 1..|i { host h[i][j] }", ["1:5"]),
        ("for i in 1..3 { let k = i * 2; host h[|k] }", ["1:21"]),
        ("for i in 1..3 { host h[k]\nlet k = 1 }\nlet z = |k", []),
        ("host a\nhost b\nlink a:up -- b\nexpect b reaches a:|up", ["3:8"]),
        ("host a\nhost b\nlink a:up -- b\nhost c { route default via a.|up.address }", ["3:8"]),
        ("host a { interface v1 { vlan 10 on |up } }\nhost b\nlink a:up -- b", ["3:8"]),
        ("pool p 10.0.0.0/8 split /31\nlink a -- b { pool |p }", ["1:6"]),
        ("machine m { }\nhost a on |m", ["1:9"]),
        ("bridge lan { gateway |r }\nhost r", ["2:6"]),
        ("host a { after |b }\nhost b", ["2:6"]),
        ("host web\ncontainer c { network container |web }", ["1:6"]),
        ('scenario "x" { do node |a kill }\nhost a', ["2:6"]),
        ("expect path a -> b through |c\nhost c", ["2:6"]),
        ("overlay |blue { vni 4 }", ["1:9"]),
        ('use "x.vlab" as m\nlink |m.a -- m.b', ["1:17"]),
        ("if 1 == 1 { host a } else { host a }\nlink |a -- a", ["1:18", "1:34"]),
        ("host a { route |default via 10.0.0.1 }\nhost default-x", []),
        ("host on-call\nhost a { forward |on }", []),
        ("host a\n# |a", []),
        ("link |nobody -- nobody", []),
    ],
)
def test_a_name_is_declared_where_the_language_says(text: str, places: list[str]) -> None:
    assert meant(text) == places


@pytest.mark.parametrize("text", LABS)
def test_every_name_of_the_labs_is_known(text: str) -> None:
    """What a reference names is found, and each found word is the name, or that with an index."""
    names = index(text)
    plain = Text(text)
    for o in names.all():
        start = plain.offset(o.range.line, o.range.column)
        end = plain.offset(o.range.end_line, o.range.end_column)
        assert text[start:end] == o.symbol.name
        modules = {file.name for file, _ in names.files()}
        elsewhere = bool(o.symbol.owner) and o.symbol.owner[0] in modules
        assert names.declarations(o.symbol) or o.symbol.role is Role.INTERFACE or elsewhere, o


# Chunks


@pytest.mark.parametrize("text", LABS)
def test_chunks_hold_the_statements_of_the_whole(text: str) -> None:
    whole = parse(Source("any.vlab", text), Diagnostics()).statements
    found = [parse(Source("any.vlab", each.text), Diagnostics()).statements for each in chunks(text)]
    assert [type(s) for s in whole] == [type(s) for each in found for s in each]
    for each, statements in zip(chunks(text), found, strict=True):
        assert text[each.start : each.end] == each.text
        assert each.line == text.count("\n", 0, each.start) + 1
        assert statements


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["host a", "{", "}", "\n", '"', '"""', "# c", "[", "]", "(", ",", " --", ";", "\r\n"]
        ),
        max_size=30,
    ).map("".join)
)
def test_chunks_are_lines_of_the_text_in_order(text: str) -> None:
    end = 0
    for each in chunks(text):
        assert each.start >= end
        assert text[each.start : each.end] == each.text
        assert not text[end : each.start].strip() or text[end : each.start].lstrip()[0] == "#"
        end = each.end
    rest = text[end:].strip()
    assert not rest or rest[0] == "#"
    index(text)


def test_what_is_not_closed_does_not_take_the_rest_with_it() -> None:
    names = index("host a {\n  forward on\nhost b\nlink b -- c\nhost c [1,\nhost d\n")
    assert [o.symbol.name for o in names.all() if o.declaration] == ["b", "d"]
    assert names.broken == 1


def test_an_edit_parses_what_it_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    from vtopo.editor import index as module

    parsed: list[str] = []
    monkeypatch.setattr(module, "parse", lambda source, d: parsed.append(source.text) or parse(source, d))
    text = "".join(f"host h{n}\n" for n in range(1000))
    cache = Cache()
    build("any.vlab", text, cache)
    assert sum(map(len, parsed)) == len(text)
    parsed.clear()
    names = build("any.vlab", text.replace("host h7\n", "\n\nhost seven\n"), cache)
    assert parsed == ["host seven\n"]
    assert names.at(11, 6) is not None
    found = names.at(12, 7)
    assert found is not None
    assert found.symbol.name == "h8" or found.symbol.name == "h9"


# Renaming

NET = """param n = 3
template router { forward on; bridge br }
host r[1..n] : router { host inner }
for i in 1..n {
  link r[i]:up -- r1.br
}
bridge lan
link r3 "10.0.0.${n}/24" -- lan
"""


def renamed(text: str, new: str) -> str:
    """The text after a rename at the mark; or why there is none."""
    plain, line, column = at(text)
    names = index(plain)
    found = renamable(names, line, column)
    if isinstance(found, Refused):
        return found.why
    places = rename(names, Text(plain), found.symbol, new)
    if isinstance(places, Refused):
        return places.why
    for place in reversed(places):
        offset, end = (
            Text(plain).offset(place.line, place.column),
            Text(plain).offset(place.end_line, place.end_column),
        )
        plain = plain[:offset] + new + plain[end:]
    return plain


def marked(what: str) -> str:
    return NET.replace(what, f"|{what}", 1)


def test_a_rename_changes_every_place_of_the_name() -> None:
    assert renamed(marked("r[1..n]"), "leaf") == NET.replace("host r[", "host leaf[").replace(
        "link r[i]", "link leaf[i]"
    ).replace("r1.br", "leaf1.br").replace("link r3", "link leaf3")
    assert renamed(marked("router"), "core") == NET.replace("router", "core")
    assert renamed(marked("n = 3"), "count") == NET.replace("n = 3", "count = 3").replace(
        "..n", "..count"
    ).replace("${n}", "${count}")
    assert renamed(marked("i in"), "k") == NET.replace("for i", "for k").replace("r[i]", "r[k]")
    assert renamed(marked("br }"), "sw") == NET.replace("bridge br", "bridge sw").replace("r1.br", "r1.sw")
    assert renamed(marked("up"), "west") == NET.replace(":up", ":west")
    assert renamed(NET.replace("-- lan", "-- |lan"), "net") == NET.replace("lan", "net")


@pytest.mark.parametrize(
    ("text", "new", "why"),
    [
        (marked("lan"), "r", "`r` is a node already on line 3"),
        (marked("lan"), "r3", "would mean something else"),
        (marked("lan"), "n", "`n` is a variable already on line 1"),
        (marked("i in"), "n", "`n` is a variable already on line 1"),
        (
            NET.replace("for i", "for |i").replace("br\n}", "br; link r[i] -- lan\n}"),
            "lan",
            "`lan` is a node already on line 7",
        ),
        (marked("n = 3"), "i", "already on line"),
        (marked("n = 3"), "a-b", "a variable's name has no hyphen; write `a_b`"),
        (marked("lan"), "host", "`host` is a word of the language"),
        (marked("lan"), "1a", "`1a` is no name"),
        (marked("lan"), "", "is no name"),
        (marked("lan"), "a b", "is no name"),
        (marked("br }"), "inner", "mean something else"),
        (marked("forward"), "x", "no name that this file declares stands here"),
        ("lab |x\nhost a\n", "y", "a running lab is found by its name"),
        ('use "x" as m\nlink m.|a -- m.b', "z", "declared in another file"),
        (marked("lan") + "host {\n", "net", "line 9 does not parse"),
    ],
)
def test_a_rename_that_would_change_a_meaning_is_refused(text: str, new: str, why: str) -> None:
    result = renamed(text, new)
    assert why in result
    assert "\n" not in result


@pytest.mark.parametrize("text", LABS)
def test_renaming_there_and_back_changes_nothing(text: str) -> None:
    for o in index(text).all():
        if o.declaration is None or o.symbol.role is Role.LAB:
            continue
        offset = Text(text).offset(o.range.line, o.range.column)
        once = renamed(text[:offset] + "|" + text[offset:], "zz9")
        if "\n" not in once.rstrip("\n"):
            assert "would" in once or "already" in once
            continue
        again = next(each for each in index(once).all() if each.declaration and each.symbol.name == "zz9")
        offset = Text(once).offset(again.range.line, again.range.column)
        assert renamed(once[:offset] + "|" + once[offset:], o.symbol.name) == text


# The outline


def test_the_outline_is_nested_as_the_text_is() -> None:
    text = Text(NET + "overlay blue {\n  vni 4\n}\n")
    shown = [(e.kind, e.label, [(i.kind, i.label) for i in e.inner]) for e in outline(index(text.text), text)]
    assert shown == [
        ("param", "n", []),
        ("template", "router", [("bridge", "br")]),
        ("host", "r[1..n]", [("host", "inner")]),
        ("for", "i in 1..n", [("link", "r[i]:up -- r1.br")]),
        ("bridge", "lan", []),
        ("link", 'r3 "10.0.0.${n}/24" -- lan', []),
        ("overlay", "blue", []),
    ]
    assert folds(index(text.text).blocks()) == [(4, 5), (9, 10)]
