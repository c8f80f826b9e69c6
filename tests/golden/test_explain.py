"""Every diagnostic has a page for `vtopo explain`, and its examples are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import vtopo.lang.explain
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.main import cli
from vtopo.compile.frontend import check_source
from vtopo.importing.compose import import_compose
from vtopo.lang.diagnostics import CODES, Diagnostics
from vtopo.lang.explain.pages import page
from vtopo.lang.source import Source, Unreadable

FOLDER = Path(vtopo.lang.explain.__path__[0])
FROM_RUNS = {"E0901"}
"""Codes that no source can show: a run reports them."""


FROM_IMPORTS = {"E0801"}
"""Codes of files of other tools, which their examples are."""


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], standalone_mode=False)


def codes(text: str) -> set[str]:
    return {d.code for d in check_source(Source("example.vlab", text), reader=read).diagnostics}


def imported(text: str) -> set[str]:
    diagnostics = Diagnostics()
    import_compose(Source("compose.yaml", text), diagnostics)
    return {d.code for d in diagnostics}


def read(path: str) -> Source:
    """The files that the examples use."""
    beside = {
        "rack.vlab": "host tor\n",
        "library.vlab": "template router { forward on }\n",
        "router.j2": "asn {{ node.data.asn }}\n",
    }
    if path not in beside:
        raise Unreadable("no such file or directory")
    return Source(path, beside[path])


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_is_headed_by_its_code_and_meaning(code: str) -> None:
    assert (page(code).code, page(code).title) == (code, CODES[code])
    assert "## Why\n" in page(code).before


@pytest.mark.parametrize("code", CODES)
def test_the_wrong_example_shows_that_code_alone(code: str) -> None:
    found = imported(page(code).wrong) if code in FROM_IMPORTS else codes(page(code).wrong)
    assert found == {code} - FROM_RUNS


@pytest.mark.parametrize("code", CODES)
def test_the_right_example_compiles_without_a_word(code: str) -> None:
    assert (imported if code in FROM_IMPORTS else codes)(page(code).right) == set()


@pytest.mark.parametrize("code", CODES)
def test_pages_have_short_lines(code: str) -> None:
    lines = (FOLDER / f"{code}.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) >= 100] == []


@pytest.mark.parametrize("columns", [40, 72, 200])
def test_prose_is_wrapped_at_the_terminals_width_and_never_wider_than_ninety(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for code in CODES:
        lines = explain(code).output.splitlines()
        assert [x for x in lines[1:] if len(x) > min(columns, 90) and not x.startswith("    ")] == []


def test_a_page_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert explain("E0209").output == (
        "E0209: a second `lab` statement\n"
        "\n"
        "A file has a second `lab` statement.\n"
        "\n"
        "Why\n"
        "A file describes one lab. Its name marks everything that\n"
        "vtopo makes, and `vtopo down` takes away what carries that\n"
        "mark: with two names in a file there would be no saying what\n"
        "belongs to which.\n"
        "\n"
        "Wrong\n"
        "    lab one\n"
        "    host a\n"
        "    lab two\n"
        "\n"
        "Right\n"
        "    lab one\n"
        "    host a\n"
        "\n"
        "What else could be meant\n"
        "- Two labs: write two files, and run `vtopo up` with each.\n"
        "  Labs do not see each other.\n"
        "- Settings of the whole lab: all stand in the one block,\n"
        "  `lab one { mtu 9000 }`.\n"
        "- Parts of one lab: put the nodes of each behind a host, or\n"
        "  give their names a common beginning.\n"
    )


def test_headings_are_bold_where_colours_are_on() -> None:
    assert "\x1b[1mWhy\x1b[0m" in explain("E0301", "--color", "always").output


@pytest.mark.parametrize("written", ["E0301", "e0301", "e301", "E301"])
def test_a_code_is_found_however_it_is_written(written: str) -> None:
    assert explain(written).output == explain("E0301").output != ""


@pytest.mark.parametrize(
    ("written", "help"),
    [
        ("E0319", "did you mean `E0"),
        ("W0301", "did you mean `"),
        ("memory", "`vtopo explain` lists all codes"),
    ],
)
def test_an_unknown_code(written: str, help: str) -> None:
    failure = explain(written).exception
    assert isinstance(failure, Failure)
    assert failure.status == USAGE
    assert f"there is no diagnostic `{written}`; {help}" in failure.text


def test_without_a_code_all_are_listed() -> None:
    assert explain().output.splitlines() == [f"{code}  {title}" for code, title in CODES.items()]


def test_json() -> None:
    facts = json.loads(explain("e301", "--json").output)
    whole = page("E0301")
    assert facts == {
        "code": "E0301",
        "title": whole.title,
        "text": whole.text,
        "wrong": whole.wrong,
        "right": whole.right,
    }
    assert len(json.loads(explain("--json").output)["codes"]) == len(CODES)
