"""Every lab that a document shows compiles, or fails as the document says; every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, Block, blocks

from vtopo.compile.frontend import check_source
from vtopo.lang.diagnostics import CODES
from vtopo.lang.source import Source
from vtopo.model.schema.reference import reference

LABS = [block for document in DOCUMENTS for block in blocks(document) if block.kind == "vlab"]


@pytest.mark.parametrize("block", LABS, ids=str)
def test_the_labs_of_the_documents(block: Block) -> None:
    codes = [word for word in block.words if word in CODES]
    checked = check_source(Source("doc.vlab", block.text))
    assert sorted({d.code for d in checked.diagnostics}) == sorted(codes), list(checked.diagnostics)
    assert (checked.lab is None) == ("error" in block.words)


def test_the_documents_show_labs() -> None:
    assert len(LABS) >= 12


def test_every_block_says_what_it_is() -> None:
    known = {"", "vlab", "yaml", "console", "text", "json", "python", "sh", "diff"}
    assert [str(b) for d in DOCUMENTS for b in blocks(d) if b.kind not in known] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), target


def test_the_reference_is_what_the_schema_says(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs/reference.md"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(reference(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == reference(), "`make golden` makes docs/reference.md anew"


def test_every_code_is_in_the_reference() -> None:
    text = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    assert [code for code, meaning in CODES.items() if f"| {code} | {meaning} |" not in text] == []


def test_every_command_and_option_is_in_the_reference() -> None:
    import importlib

    import click

    from vtopo.cli.main import COMMANDS

    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"\n## vtopo {name} " in text or f"\n## vtopo {name}\n" in text
        command = importlib.import_module(f"vtopo.cli.{name}_command").command
        options = [o for p in command.params if isinstance(p, click.Option) for o in p.opts]
        assert [o for o in options if f"`{o}" not in text] == []


def test_tests_that_the_documents_name_exist() -> None:
    sources = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("*.py")}
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    for file, test in re.findall(r"`(test_\w+\.py)::(test_\w+)`", text):
        assert f"def {test}(" in sources.get(file, ""), f"{file}::{test}"
