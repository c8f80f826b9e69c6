"""Random labs, right and wrong, made from the grammar's statements and the schema's properties: whatever comes, the
front end says diagnostics and nothing else, and what parses keeps its meaning through `fmt`.

`VTOPO_FUZZ=20000` sets how many are tried of each; the suite tries a hundred, others each time.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import check_source
from vtopo.lang.alike import Alike
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import canonical
from vtopo.lang.parser import parse
from vtopo.lang.render import render
from vtopo.lang.source import Source, Unreadable
from vtopo.model.schema import SCHEMA, Place, Property, Slot, Type

TRIES = int(os.environ.get("VTOPO_FUZZ", "120"))
LABS = {path.name: path.read_text() for path in (Path(__file__).parents[2] / "labs").glob("*.vlab")}
BROAD = settings(max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck))

NAMES = st.sampled_from(
    ["a", "b", "lan", "h1", "h", "sw", "r", "x-y", "red", "eth0", "n", "self", "host", "none"]
)
NUMBERS = st.sampled_from(["0", "1", "2", "3", "64", "9000", "65536", "99999999999999999999"])
OF_TYPE: dict[Type, list[str]] = {
    Type.INTEGER: ["0", "1", "100", "1500", '"7"', "n", "(n + 1)"],
    Type.NUMBER: ["0.5", "2", "1.0001"],
    Type.SIZE: ["512MiB", "1GB", "0", "512", "10ms", "1G"],
    Type.RATE: ["10Mbit", "1Gbit", "10Mbps", "5"],
    Type.THROUGHPUT: ["10MB/s", "1GiB/s", "3"],
    Type.OPERATIONS: ["1000iops"],
    Type.TIME: ["20ms", "10s", "1h", "5", '"3s"'],
    Type.SHARE: ["0.5%", "100%", "120%"],
    Type.SWITCH: ["on", "off", "true", "maybe", '"on"'],
    Type.NAME: ["eth0", "KEY", '"x y"', "a.b.c"],
    Type.NAMES: ["[eth0, eth1]", "eth0", "[]"],
    Type.TEXT: [
        '"text"',
        '"${n} ${self.name}"',
        '"${a.eth0.address}"',
        '"""\n  long\n  one\n"""',
        '"/etc/x"',
    ],
    Type.COMMAND: ['"sleep 1"', '["sleep", 9]', "[]", '"${b.eth0.mac}"'],
    Type.VALUE: ["65000", '"x"', "10.0.0.1", "[1, 2]", "1..3"],
    Type.INTEGERS: ["0", "0..3", "[1, 4..5]", "3..1"],
    Type.PORTS: ["8080:80", "0:1", "80"],
    Type.NODE: ["a", "h[1]", "h[*]", "lan", "nobody", '"a"'],
    Type.ADDRESS: ["10.0.0.1", "2001:db8::1", "a.eth0.address", "10.0.0.1/24", "self.eth0.peer.address"],
    Type.INTERFACE_ADDRESS: ["10.0.0.1/24", "2001:db8::1/64", "10.0.0.1"],
    Type.PREFIX: ["10.0.0.0/24", "2001:db8::/64", "10.0.0.1/24", "subnet(10.0.0.0/8, 24, n)", "0.0.0.0/0"],
    Type.MAC: ["02:00:00:00:00:01", "01:00:00:00:00:01"],
}


def value(slot: Slot) -> st.SearchStrategy[str]:
    """Values for a slot: mostly of its types, sometimes of others."""
    own = [text for type_ in slot.types for text in OF_TYPE.get(type_, [])] + list(slot.words)
    any_ = [text for texts in OF_TYPE.values() for text in texts]
    return st.one_of(st.sampled_from(own or any_), st.sampled_from(own or any_), st.sampled_from(any_))


@st.composite
def properties(draw: st.DrawFn, known: tuple[Property, ...], depth: int = 0) -> str:
    prop = draw(st.sampled_from(known))
    form = draw(st.sampled_from(prop.forms))
    words = [part if isinstance(part, str) else draw(value(part)) for part in form]
    if draw(st.integers(0, 9)) == 0:
        words = words[:-1] or ["3"]
    block = ""
    if prop.block and depth < 3 and draw(st.booleans()):
        inner = draw(st.lists(properties(prop.block, depth + 1), max_size=3))
        block = " { " + "; ".join(inner) + " }"
    return " ".join([prop.name, *words]) + block


def block(place: Place) -> st.SearchStrategy[str]:
    known = tuple(SCHEMA[place].values())
    return st.lists(properties(known), max_size=4).map(
        lambda lines: "{ " + "; ".join(lines) + " }" if lines else ""
    )


INDEX = st.sampled_from(
    ["", "", "", "[1]", "[1..3]", "[*]", "[n]", '["red"]', "[1][2]", "[1..2][1..2]", "[0..-1]"]
)


@st.composite
def endpoints(draw: st.DrawFn) -> str:
    port = draw(st.sampled_from(["", "", ":eth0", ":up", ':"eth0.10"', ":link"]))
    address = draw(
        st.sampled_from(["", "", " 10.0.0.1/24", " none", " address(10.0.0.0/24, n)", " 2001:db8::1/64"])
    )
    return draw(NAMES) + draw(INDEX) + port + address + draw(st.sampled_from(["", "", " { mtu 1400 }"]))


@st.composite
def statements(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.sampled_from(["host", "host", "container", "vm", "bridge", "uplink"]))
    which = draw(st.integers(0, 15))
    name = draw(NAMES)
    inner = st.lists(statements(depth + 1), max_size=3).map("\n".join) if depth < 2 else st.just("host z")
    match which:
        case 0 | 1 | 2 | 3:
            base = draw(st.sampled_from(["", "", " : t", " : t, u", " on m"]))
            body = draw(block(Place(kind)))
            return f"{kind} {name}{draw(INDEX)}{base} {body}"
        case 4 | 5 | 6:
            return f"link {draw(endpoints())} -- {draw(endpoints())} {draw(block(Place.LINK))}"
        case 7:
            vtep = draw(st.sampled_from(["", "vtep a:eth0 -- a.br; ", "vtep h[1..2]:eth0 -- h[1..2].br; "]))
            return f"overlay {name} {{ {vtep}{draw(block(Place.OVERLAY)).strip('{}')} }}"
        case 8:
            values = draw(
                st.sampled_from(["1..3", "[1, 2]", '["red", "blue"]', "1..n", "3..1", "a.eth0.address"])
            )
            return f"for i in {values} {{\n{draw(inner)}\n}}"
        case 9:
            condition = draw(st.sampled_from(["n > 1", "true", "n == off", "not (n < 3 and on)"]))
            return f"if {condition} {{\n{draw(inner)}\n}} else {{ host e }}"
        case 10:
            return f"template {draw(st.sampled_from(['t', 'u']))} {draw(block(Place.HOST)) or '{ }'}"
        case 11:
            return draw(
                st.sampled_from(
                    ["let k = n * 2", "param n = 3", "param n = 3 in 1..4", "let n = k", "let q = [n, n]"]
                )
            )
        case 12:
            return draw(
                st.sampled_from(
                    [
                        "pool p 10.0.0.0/16 split /31",
                        "pool q 2001:db8::/32 split /64",
                        "pool p 10.0.0.0/30 split /32",
                        'use "rack.vlab" as m1',
                        'use "quickstart.vlab" as q[n]',
                        'use "none.vlab"',
                        'use "rack.vlab" { servers = 2 }',
                        "machine m { address 192.0.2.1 }",
                        f"default {kind} {{ mtu 1300 }}",
                        "lab other { mtu 1300 }",
                    ]
                )
            )
        case 13 | 14:
            return draw(
                st.sampled_from(
                    [
                        "expect a reaches b",
                        "expect not h[*] reaches h[*] within 1s",
                        "expect a reaches a.eth0.address",
                        'expect a runs "true" prints "${n}"',
                        "expect delay a -> b <= 10ms",
                        "expect path a -> b through r",
                        "expect a reaches lan on tcp 80",
                        "expect rate a -> b >= 5",
                        "expect a",
                        "expect loss a -> b == 3%",
                        'scenario "s" { do node a kill; expect a reaches b; do link a b down }',
                    ]
                )
            )
        case _:
            return draw(
                st.sampled_from(
                    ["# only a comment", "}", "host", "a -> b { rate 1Mbit }", "mtu 1500", "x = 3"]
                )
            )


def read(path: str) -> Source:
    if path not in LABS:
        raise Unreadable("no such file or directory")
    return Source(path, LABS[path])


def survives(text: str) -> None:
    source = Source("any.vlab", text)
    checked = check_source(source, reader=read)
    for diagnostic in checked.diagnostics:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in diagnostic.message)
        assert shown in render(diagnostic, checked.sources)
        assert diagnostic.range.path in {*checked.sources, "any.vlab"}
        assert diagnostic.range.line <= checked.sources[diagnostic.range.path].text.count("\n") + 1
    if checked.lab is not None:
        resources = compile_lab(checked.lab)
        seen: set[str] = set()
        for resource in resources:
            assert set(resource.needs) <= seen, f"{resource.id} comes before what it needs"
            assert resource.id not in seen, f"{resource.id} comes twice"
            seen.add(resource.id)
    diagnostics = Diagnostics()
    result = canonical(source, diagnostics)
    if result is not None:
        assert canonical(Source("any.vlab", result), Diagnostics()) == result


@BROAD
@given(st.lists(statements(), min_size=1, max_size=10).map("\n".join))
def test_random_labs_are_told_what_is_wrong_with_them(text: str) -> None:
    survives(text + "\n")


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An example lab with some stretches taken out, doubled, or replaced by a statement."""
    text = draw(st.sampled_from(sorted(LABS.values())))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        put = draw(st.one_of(st.sampled_from(["", " ", text[start:end] * 2, "\n"]), statements()))
        text = text[:start] + put + text[end:]
    return text


@st.composite
def repetitive(draw: st.DrawFn) -> str:
    """A text whose lines come again and again, each time with other digits."""
    lines = draw(st.one_of(st.lists(statements(), min_size=1, max_size=6).map("\n".join), mutated())).split(
        "\n"
    )
    again = draw(st.lists(st.sampled_from(lines), max_size=4 * len(lines)))
    digits = draw(st.lists(st.sampled_from("0123456789"), min_size=1))
    text = "\n".join([*lines, *again, *lines])
    others = itertools.cycle(digits)
    return "".join(next(others) if c in "123456789" else c for c in text)


@BROAD
@given(repetitive())
def test_lines_that_are_written_alike_are_read_as_if_each_were_the_only_one(text: str) -> None:
    source = Source("any.vlab", text)
    found = Diagnostics(), Diagnostics()
    tree = parse(source, found[0])
    with mock.patch.object(Alike, "read", return_value=None):
        assert parse(source, found[1]) == tree
    assert list(found[0]) == list(found[1])


@BROAD
@given(mutated())
def test_mutated_labs_are_told_what_is_wrong_with_them(text: str) -> None:
    survives(text)
