"""The formatter: it keeps a lab's meaning and comments, settles at once, and touches files with care."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vtopo.cli.main import run
from vtopo.lang import format as formatter
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import FormatError, canonical, same_meaning
from vtopo.lang.format_spaces import Spacing
from vtopo.lang.format_tree import lex, significant
from vtopo.lang.parser import parse
from vtopo.lang.source import Source

ROOT = Path(__file__).parents[2]
LABS = [p.read_text() for p in sorted((ROOT / "labs").glob("*.vlab"))]
LABS += [p.read_text().partition("=====")[0] for p in sorted((ROOT / "tests/golden/format").glob("*.txt"))]
STATEMENTS = [
    *(
        "lab x",
        "host a",
        "bridge lan",
        "link a:eth0 10.0.0.1/24 -- b",
        "link a--b",
        "forward true",
        "mtu 1500",
    ),
    *(
        "overlay o",
        "vtep a:eth0 -- lan",
        "expect not a reaches b within 5s",
        'run "x # no comment"',
        "forward off",
    ),
    *("link a {} -- b", "host h[1,\n 2]", "link a -- # c\n\n # d\n b", "x [1]", "expect h[*] reaches ::1"),
]
BETWEEN = [
    "\n",
    "\n\n\n",
    ";",
    "\r\n",
    " # c\n",
    "\n# own\n",
    "\n \t#d\r\n\n",
    " { ",
    "{",
    "{ # e\n",
    "}",
    " }\n",
    "",
]
WITHIN = [" ", "  ", "\t", " \t "]
ENDING = ["\n", " \n\n", "\n\n\n", "\r\n", " ; ", ";;\n", "# c\n", " # d\n\n", "\n# e\n", "\n\n  # f\n\n"]
SIGNS = [*WITHIN, *ENDING, *"{}[],:.", ""]
MESSY = "host   a\nhost b{forward true}   # c\n"
CLEAN = "host a\nhost b { forward on }  # c\n"
BROKEN = "host {\n"


def fmt(text: str) -> str | None:
    return canonical(Source("any.vlab", text), Diagnostics())


def tree(text: str) -> object:
    diagnostics = Diagnostics()
    parsed = parse(Source("any.vlab", text), diagnostics)
    assert not diagnostics.failed, text
    return parsed


def own_comments(text: str) -> Counter[str]:
    """Comments by a scan of our own, so that a mistake of the formatter's shows."""
    found = re.findall(r'"(?:[^"\\\n]|\\.)*"|(#[^\n]*)', text)
    return Counter(comment.rstrip() for comment in found if comment)


def holds(text: str) -> bool:
    """Whether `text` parses; if it does, its canonical text is the same lab."""
    result = fmt(text)
    if result is None:
        return False
    assert fmt(result) == result
    assert same_meaning(tree(text), tree(result))
    assert own_comments(text) == own_comments(result)
    assert '"""' in result or not re.search(
        r"[ \t\r]$|\n\n\n|\A\n|^[^#\n]*\{\n\n|\n\n *\}|\n\n\Z", result, re.MULTILINE
    )
    assert result == "" or result.endswith("\n")
    return True


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STATEMENTS), st.sampled_from(BETWEEN)), max_size=12))
@example([("host a", " { "), ("mtu 1500", "}"), ("", " # c\n")])
def test_token_soups_keep_their_meaning(parts: list[tuple[str, str]]) -> None:
    text = "".join(statement + between for statement, between in parts)
    opened = text.count("{") - text.count("}")
    holds(text + "\n}" * max(0, opened))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A lab with other space between its words, and some signs put in or short stretches taken out."""
    text = draw(st.sampled_from(LABS))
    for _ in range(draw(st.integers(1, 8))):
        gap = draw(st.sampled_from(list(re.finditer(r"\s+", text)) or [None]))
        if gap is not None:
            others = ENDING if "\n" in gap[0] else WITHIN
            text = text[: gap.start()] + draw(st.sampled_from(others)) + text[gap.end() :]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(SIGNS)) + text[start + draw(st.sampled_from([0, 1, 9])) :]
    return text


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_mutated_labs_keep_their_meaning(text: str) -> None:
    holds(text)


@pytest.mark.parametrize("text", LABS)
def test_line_ends_and_byte_order_marks_make_no_difference(text: str) -> None:
    want = fmt(text)
    assert want is not None
    assert fmt(text.replace("\n", "\r\n")) == want
    assert fmt("\N{ZERO WIDTH NO-BREAK SPACE}" + text) == want
    assert fmt(text.rstrip("\n")) == want


@pytest.mark.parametrize("text", ["", "\n", " \t\r\n\n", ";", ";;\n;"])
def test_nothing_stays_nothing(text: str) -> None:
    assert fmt(text) == ""


@pytest.mark.parametrize("text", [BROKEN, "host a }", 'run "x', "route 1.2.3.400/24 via a", "host a\rhost b"])
def test_what_does_not_parse_is_reported(text: str) -> None:
    diagnostics = Diagnostics()
    assert canonical(Source("any.vlab", text), diagnostics) is None
    assert diagnostics.failed


def test_blocks_within_blocks_to_the_limit() -> None:
    assert holds("host a {" * 100 + "}" * 100)
    assert holds("host a {\n" * 100 + "}\n" * 100)


SPACED = [
    "let servers = leaves * 2",
    "param leaves = 4 in 1..64",
    "host r[1..3] : router, big on m2",
    "host r[i - 1]:eth0",
    "link r[(i + 1) % n]:up -- spine[s]",
    "for l in 1..leaves, s in 1..n * 2",
    "x (a ? -1 : b[1]) [a, b] (y)",
    "x (a ? (b ? 1 : 2) : c:d)",
    "publish 8080:80",
    "subnet subnet(10.0.0.0/8, 24, -3)",
    "if not (a == b) and c != 1",
    "x (-1) [-1, - 2] h[*]",
    "pin 0 -> 0",
    "-> ",
    "<- ",
    "bind a -> b",
    "expect rate a -> b >= 9Mbit",
    "pool p2p 10.1.0.0/16 split /31",
    "x host1.br0.eth0.address trunk[1] trunk [1]",
    "trunk [10, 20] 5% 5 % 2",
    "x a | b|c",
]


@pytest.mark.parametrize("line", SPACED)
def test_where_spaces_stand(line: str) -> None:
    """Also for what the grammar does not take yet: tokens are all that counts."""
    line = line.replace("host r[i - 1]:eth0", "link r[i - 1]:eth0").replace("- 2", "-2").strip()
    pattern = (
        r"[A-Za-z_][\w]*(?:-\w+)*|\d+(?:\.\d+){2,}(?:/\d+)?|\d+(?:\.\d+)?[A-Za-z%]*|--|->|<-|\.\.|[=!<>]=|\S"
    )
    for text in (line, re.sub(r" ?(--|->|<-|==|!=|>=| [=*?%+] ) ?", r" \1 ", line).replace(", ", " , ")):
        spacing, result, end = Spacing(), "", 0
        for match in re.finditer(pattern, text):
            apart = match.start() > end
            end = match.end()
            result += " " * spacing.add(match[0], apart) + match[0]
        assert result == line


def test_same_meaning_sees_what_differs() -> None:
    base = tree('host a { forward on; run "x" }\nlink a:e 10.0.0.1/24 -- b')
    assert same_meaning(base, tree('host a{forward true\nrun "x"}\n\nlink a : e 10.0.0.1/24 --\nb'))
    for other in (
        'host a { forward off; run "x" }\nlink a:e 10.0.0.1/24 -- b',
        'host a { forward on; run "y" }\nlink a:e 10.0.0.1/24 -- b',
        'host a { forward on; run "x" }\nlink a:e 10.0.0.1/24 -- c',
        'host a { forward on; run "x" }\nlink a:e 10.0.0.1/25 -- b',
        "host a { forward on }\nlink a:e 10.0.0.1/24 -- b",
        'host a { forward on; run "x" }',
        'bridge a { forward on; run "x" }\nlink a:e 10.0.0.1/24 -- b',
    ):
        assert not same_meaning(base, tree(other))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("host a\nhost b", "\n\nhost   a ;; # c\n host b;", True),
        ("host a { mtu 1; mtu 2 }", "host a {\n# c\n\nmtu 1\n\nmtu 2\n}\n", True),
        ("host h[1,\n 2]", "host h[1, 2]", True),
        ("x a\nb", "x a b", False),
        ("x [1]", "x[1]", False),
        ("x (1)", "x(1)", False),
        ("host a { mtu 1 }\nmtu 2", "host a { mtu 1; mtu 2 }", False),
        ('run "a b"', 'run "a  b"', False),
        ("link a -- b {}\n{}", "link a -- b {} {}", False),
    ],
)
def test_what_proves_a_layout_is_equal_only_where_the_tree_is(one: str, other: str, same: bool) -> None:
    assert (list(significant(lex(one))) == list(significant(lex(other)))) is same
    if same:
        assert same_meaning(tree(one), tree(other))


@pytest.mark.parametrize(
    "wrong",
    ["host b\n# c\n", "host a\n", "host a {\n# c\n", "host  a\n# c\n"],
    ids=["tree", "comment", "broken", "layout"],
)
def test_a_wrong_result_is_never_given(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter, "layout", lambda _entries: wrong)
    if wrong.startswith("host  a"):
        results = iter([wrong, "host a\n# c\n"])
        monkeypatch.setattr(formatter, "layout", lambda _entries: next(results))
    with pytest.raises(FormatError):
        fmt("host a\n# c\n")


# The command


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.vlab"
    path.write_text(MESSY)
    return path


def test_a_file_is_rewritten_once(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "a.vlab"]) == 0
    assert lab.read_text() == CLEAN
    assert capsys.readouterr() == ("a.vlab: formatted\n", "")
    before = lab.stat()
    assert run(["fmt", "a.vlab"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (lab.stat().st_ino, lab.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_check_lists_and_changes_nothing(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.vlab").write_text(CLEAN)
    assert run(["fmt", "--check", "a.vlab", "b.vlab"]) == 1
    assert capsys.readouterr().out == "a.vlab\n"
    assert lab.read_text() == MESSY
    assert run(["fmt", "--check", "b.vlab"]) == 0
    assert capsys.readouterr() == ("", "")


def test_diff_prints_and_changes_nothing(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--diff", "a.vlab"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("--- a.vlab\n+++ a.vlab (canonical)\n@@ ")
    assert "\n-host   a\n" in out
    assert "\n+host a\n" in out
    assert lab.read_text() == MESSY
    assert run(["fmt", "--diff", "--check", "a.vlab"]) == 1


def test_diff_tells_of_a_missing_last_line_end(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab.write_text("host a")
    assert run(["fmt", "--diff", "a.vlab"]) == 0
    assert capsys.readouterr().out.endswith("\n-host a\n\\ No newline at end of file\n+host a\n")


def test_what_does_not_parse_is_left_and_the_others_are_done(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.vlab").write_text(BROKEN)
    assert run(["fmt", "bad.vlab", "a.vlab"]) == 2
    assert Path("bad.vlab").read_text() == BROKEN
    assert lab.read_text() == CLEAN
    assert "error[E0" in capsys.readouterr().err
    assert run(["fmt", "--check", "bad.vlab"]) == 2


def test_a_missing_file_stops_the_run_before_anything_changes(lab: Path) -> None:
    assert run(["fmt", "a.vlab", "none.vlab"]) == 2
    assert lab.read_text() == MESSY
    assert run(["fmt", "a.vlab", "."]) == 2
    assert run(["fmt"]) == 2


@pytest.mark.parametrize(
    ("options", "given", "status", "out"),
    [
        ([], MESSY, 0, CLEAN),
        ([], CLEAN, 0, CLEAN),
        ([], "", 0, ""),
        ([], BROKEN, 2, ""),
        (["--check"], MESSY, 1, "<stdin>\n"),
        (["--check"], CLEAN, 0, ""),
        (["--diff"], CLEAN, 0, ""),
    ],
)
def test_standard_input_goes_to_standard_output(
    options: list[str],
    given: str,
    status: int,
    out: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given.encode())))
    assert run(["fmt", *options, "-"]) == status
    assert capsys.readouterr().out == out


def test_byte_order_mark_and_line_ends_go(lab: Path) -> None:
    lab.write_bytes(b"\xef\xbb\xbf" + CLEAN.encode())
    assert run(["fmt", "--check", "a.vlab"]) == 1
    lab.write_bytes(b"\xef\xbb\xbf" + CLEAN.replace("\n", "\r\n").encode())
    assert run(["fmt", "a.vlab"]) == 0
    assert lab.read_bytes() == CLEAN.encode()


def test_the_mode_stays_and_a_link_stays_a_link(lab: Path) -> None:
    lab.chmod(0o640)
    Path("deep").mkdir()
    Path("deep/link.vlab").symlink_to("../a.vlab")
    assert run(["fmt", "deep/link.vlab"]) == 0
    assert Path("deep/link.vlab").is_symlink()
    assert lab.read_text() == CLEAN
    assert stat.S_IMODE(lab.stat().st_mode) == 0o640
    assert sorted(map(str, Path().rglob("*"))) == ["a.vlab", "deep", "deep/link.vlab"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(lab: Path) -> None:
    os.chown(lab, 1234, 2345)
    assert run(["fmt", "a.vlab"]) == 0
    assert (lab.stat().st_uid, lab.stat().st_gid, lab.read_text()) == (1234, 2345, CLEAN)


def test_a_failed_write_leaves_the_file_and_nothing_else(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run(["fmt", "a.vlab"]) == 1
    assert "cannot write a.vlab: No space left on device" in capsys.readouterr().err
    assert lab.read_text() == MESSY
    assert list(Path().iterdir()) == [Path("a.vlab")]


def test_a_mistake_of_the_formatter_leaves_the_file(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formatter, "layout", lambda _entries: "host other\n")
    assert run(["fmt", "a.vlab"]) == 1
    assert "mistake of vtopo" in capsys.readouterr().err
    assert lab.read_text() == MESSY
