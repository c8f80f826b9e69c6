"""Completion and hover: what can stand at the mark `|`, and what is said about the word there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtopo.compile.frontend import check_source
from vtopo.editor import words
from vtopo.editor.compiled import NOTHING, Compiled, compiled
from vtopo.editor.completion import Item, Sources, complete
from vtopo.editor.context import Context, context
from vtopo.editor.hover import hover
from vtopo.editor.index import Cache, Index, build
from vtopo.editor.text import Text
from vtopo.lang.grammar import grammar_text
from vtopo.lang.source import Source
from vtopo.lang.syntax_errors import STATEMENT_WORDS
from vtopo.model.functions import FUNCTIONS
from vtopo.model.schema import SCHEMA, Place

NET = """param n = 3
template router { forward on }
machine m2 { address 192.0.2.1 }
pool p2p 10.0.0.0/16 split /31
host r[1..n] : router { bridge br; host web }
host a
bridge lan
overlay blue { vni 3 }
link a:up -- lan
link r[1]:e1 -- a:down
"""
MODULE = "param leaves = 2\nparam name\ntemplate rack { }\nhost inside\nbridge fabric\n"


def index(text: str) -> Index:
    return build("any.vlab", text, Cache())


def around(text: str) -> tuple[Context, Index]:
    offset = text.index("|")
    plain = text[:offset] + text[offset + 1 :]
    names = index(plain)
    number = names.chunk_at(plain.count("\n", 0, offset) + 1)
    return context(names.chunks[number] if number is not None else None, plain, offset), names


def items(text: str, lab: Compiled = NOTHING) -> list[Item]:
    at, names = around(text)
    files = {"x.vlab": index(MODULE)}
    return [i for i in complete(at, Sources(names, lab, files.get)) if i.label.startswith(at.prefix)]


def offered(text: str) -> list[str]:
    return [item.written or item.label for item in items(NET + text)]


VALUES = ["n", "self", "subnet(", "address(", "len(", "min(", "max("]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ho|", ["host"]),
        ("host x : |", ["router"]),
        ("host x : router, |", ["router"]),
        ("host x on |", ["m2"]),
        ("host x |", ["on"]),
        ("host |", []),
        ("link |", ["r[", "a", "lan"]),
        ("link a -- |", ["r[", "a", "lan"]),
        ("link a -- l|", ["lan"]),
        ("link r[1].|", ["br", "web"]),
        ("link a:|", ["up", "down"]),
        ("link a:u| -- lan", ["up"]),
        ("link r[|", ["n", *VALUES[2:]]),
        ("link a -- lan { -> { del|", ["delay"]),
        ("link a -- lan { pool |", ["p2p"]),
        ("vtep r1:|", ["e1"]),
        ("expect not |", ["r[", "a", "lan", "rate", "delay", "loss", "path"]),
        ("expect a |", ["reaches", "runs"]),
        ("expect a reaches |", ["r[", "a", "lan"]),
        ("expect a reaches lan |", ["on tcp", "within"]),
        ("expect a reaches lan within 5|", ["5us", "5ms", "5s", "5min", "5h"]),
        ("expect path a -> r1 |", ["through", "within"]),
        ("host q { oom |", ["kill", "pause", *VALUES]),
        ("host q { forward |", ["on", "off", *VALUES]),
        ("host q { memory 512M|", ["512MB", "512MiB"]),
        ("host q { mem|", ["memory", "memory-reservation"]),
        ("host q { route default |", ["via"]),
        ("vm q { vcpus 2 { |", ["pin", "topology", "let", "for", "if"]),
        ("vm q { vcpus 2 { pin 0 |", ["->"]),
        ("host q { if n == 2 { swap|", ["swap", "swappiness"]),
        ("host q { interface up { vlan 10 |", ["on"]),
        ('host q { run "x |', []),
        ('host q { run "x ${|', VALUES),
        ('host q { run "x ${se|', ["self"]),
        ("for i in 1..n { host x[|", ["i", "n", *VALUES[2:]]),
        ("for i in 1..n { let k = i; host x[k|", ["k"]),
        ("let x = le|", ["len("]),
        ("for i |", ["in"]),
        ("if n == 1 { host g } |", ["else"]),
        ("default |", ["host", "container", "vm", "bridge", "uplink", "link"]),
        ("default link { rat|", ["rate"]),
        ("template t { mem|", ["memory", "memory-reservation"]),
        ("bridge b { gateway |", ["r[", "a", "lan", *VALUES]),
        ("container q { network container |", ["r[", "a", "lan", *VALUES]),
        ("host q { after a.|", ["up", "down", "name", "address", "address6", "data"]),
        ("host q { data x lan.sub|", ["subnet", "subnet6"]),
        ("host q { data x a.up.p|", ["prefix", "prefix6", "peer"]),
        ("host q { data x self.|", ["name", "index", "index2"]),
        ('scenario "x" { |', ["do", "expect"]),
        (
            'scenario "x" { do node a |',
            ["kill", "pause", "resume", "stop", "start", "restart", "n", *VALUES[2:]],
        ),
        ('use "x.vlab" |', ["as"]),
        ('use "x.vlab" as m { |', ["leaves = ", "name = "]),
        ('use "x.vlab" as m\nlink m.|', ["inside", "fabric"]),
        ('use "x.vlab"\nhost x : ra|', ["rack"]),
        ("pool z 10.0.0.0/8 |", ["split"]),
        ("# ho|", []),
        ("host q # |", []),
        ('host q { file "|', []),
    ],
)
def test_what_can_stand_at_a_place(text: str, expected: list[str]) -> None:
    assert offered(text) == expected


def test_a_statement_begins_with_any_that_may_stand_there() -> None:
    assert offered("|")[: len(words.STATEMENTS) - 1] == [w for w in words.STATEMENTS if w != "vtep"]
    inside = offered("host q { |")
    assert inside[: len(SCHEMA[Place.HOST])] == list(SCHEMA[Place.HOST])
    assert inside[len(SCHEMA[Place.HOST]) :] == list(words.IN_NODES)
    assert "vtep" in offered("overlay z { |")
    assert {"->", "mac", "rate"} <= {text.removesuffix(" { ") for text in offered("link a -- lan { |")}
    assert "rate" not in offered("link a { | } -- lan")
    assert "param" not in offered("if n == 1 { |")


def test_interfaces_of_the_compiled_lab_are_offered_too() -> None:
    text = "host a\nbridge lan { subnet 10.0.0.0/24 }\nlink a -- lan\n"
    lab = check_source(Source("any.vlab", text)).lab
    assert lab is not None
    found = items(text + "link a:|", compiled(lab))
    assert [(i.label, i.detail) for i in found] == [("eth0", "to lan:eth0 10.0.0.1/24")]


def test_the_table_of_statements_is_that_of_the_grammar() -> None:
    assert set(words.STATEMENTS) == {*STATEMENT_WORDS, "vtep"}
    assert set(words.FUNCTIONS) == set(FUNCTIONS)
    for word in words.ELSEWHERE:
        assert f'"{word}"' in grammar_text(), word


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_beginning_of_a_lab_has_an_answer(data: st.DataObject) -> None:
    whole = NET + 'host q { io { device "/dev/vda" { read 1MB/s } } }\nfor i in 1..n { link r[i] -- a }\n'
    start = data.draw(st.integers(0, len(whole)))
    more = data.draw(
        st.sampled_from(["", "{", "}", '"', '"""', "[", "(", ":", ".", "--", "->", "=", "x", "${", "\n"])
    )
    text = whole[:start] + more + "|" + data.draw(st.sampled_from(["", whole[start:]]))
    found = items(text)
    assert len(found) == len(set(found))
    _, names = around(text)
    plain = text.replace("|", "", 1)
    hover(Text(plain), start, names, NOTHING, ())


# Hover


def said(text: str, lab: Compiled = NOTHING) -> str:
    offset = text.index("|")
    plain = text[:offset] + text[offset + 1 :]
    checked = check_source(Source("any.vlab", plain))
    if checked.lab is not None:
        lab = compiled(checked.lab)
    found = hover(Text(plain), offset, index(plain), lab, tuple(checked.diagnostics))
    if found is None:
        return ""
    assert found.start <= offset <= found.end
    return found.markdown


def test_a_property_is_said_with_type_bounds_default_and_meaning() -> None:
    text = said("host a { |pids 100 }")
    prop = SCHEMA[Place.HOST]["pids"]
    assert prop.doc in text
    assert "a whole number, 1 to 4194304" in text
    assert "default: no limit" in text
    assert said("host a { pids |100 }") == text
    assert "in its block: `pin`, `topology`" in said("vm a { |vcpus 2 }")
    assert "must be given" in said("overlay blue { |vni 4 }")
    assert said("for i in 1..2 { host a[i] { |pids 100 } }") == text


def test_a_kind_and_a_function_are_said() -> None:
    assert "host NAME" in said("|host a")
    assert "container NAME" in said("conta|iner a")
    assert "The N-th subnet" in said("let a = |subnet(10.0.0.0/8, 24, 1)")
    assert "ICMP" in said("host a\nhost b\nexpect a |reaches b") or "vtopo test" in said(
        "host a\nhost b\nexpect a |reaches b"
    )


def test_a_node_is_said_with_what_it_compiled_to() -> None:
    text = "host h[1..2] { forward on }\nbridge lan { subnet 10.0.0.0/24 }\nlink h[1..2] -- lan\n"
    for mark in ("h[1..2] {", "h[1..2] --"):
        shown = said(text.replace(mark, f"|{mark}"))
        assert "host h[1..2] { forward on }" in shown
        assert "host h1\n  eth0     10.0.0.1/24 -- lan:eth0, mtu 1500" in shown
        assert "host h2\n  eth0     10.0.0.2/24 -- lan:eth1, mtu 1500" in shown
    assert "h1" not in said(text.replace("lan {", "|lan {")).partition("bridge lan\n")[0]
    assert "a:up  10.0.0.1/24  02:" in said("host a\nbridge lan { subnet 10.0.0.0/24 }\nlink a:|up -- lan")
    assert "VNI 7" in said(
        "host a { bridge x }\nhost b { bridge x }\nlink a 10.0.0.1/24 -- b 10.0.0.2/24\n"
        "overlay |o { vni 7; vtep a:eth0 -- a.x; vtep b:eth0 -- b.x }"
    )


def test_a_node_of_a_template_is_said_for_each_that_takes_it() -> None:
    shown = said("template t { host |inner; bridge x; link inner -- x }\nhost a : t\nhost b : t\n")
    assert "host a.inner" in shown
    assert "host b.inner" in shown


def test_a_diagnostic_is_explained() -> None:
    shown = said("host a\nlink a -- |nobody")
    assert shown.startswith("**E0302: an unknown node**")
    assert "declare" in shown


def test_what_means_nothing_is_not_said() -> None:
    assert said("host a # |word") == ""
    assert said("|\n\nhost a") == ""


def test_forms_begin_with_their_word() -> None:
    for word, meaning in words.STATEMENTS.items():
        assert meaning.form.split()[0] == word
        assert meaning.doc.endswith(".")
