"""docs/lab.schema.json: it is what the dataclasses make of it, and every lab's lab.json fits it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from vtopo.cli.reading import read_module
from vtopo.compile.artefacts import artefacts
from vtopo.compile.frontend import check_source
from vtopo.compile.lab_schema import schema, text
from vtopo.lang.source import Source

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docs/lab.schema.json"
LABS = [
    *sorted((ROOT / "labs").glob("*.vlab")),
    *sorted((ROOT / "tests/golden/compile").glob("*.txt")),
]
CLAIMS = """host a
host b
link a 10.0.0.1/24 -- b 10.0.0.2/24 { rate 10Mbit; -> { delay 5ms } }
expect not a reaches b on tcp 80 within 500ms
expect a runs "true" prints "x"
expect a runs ["true", "x"]
expect delay a -> b <= 25ms
expect path a -> b through b
scenario "s" { do node a kill; do link a b down; expect a reaches b }
"""


def lab_json(text: str, path: str) -> Any:
    checked = check_source(Source(path, text), reader=read_module)
    return json.loads(artefacts(checked.lab)["lab.json"]) if checked.lab is not None else None


def test_it_is_up_to_date(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--rewrite-golden"):
        PATH.write_text(text(), encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == text(), "`make golden` makes docs/lab.schema.json anew"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.name)
def test_every_lab_fits(path: Path) -> None:
    document = lab_json(path.read_text(encoding="utf-8").partition("=====")[0], str(path))
    if document is not None:
        Draft202012Validator(schema()).validate(document)


def test_every_kind_of_expectation_fits() -> None:
    document = lab_json(CLAIMS, "any.vlab")
    assert {e["claim"]["claim"] for e in document["expectations"]} == {"reach", "output", "measure", "way"}
    Draft202012Validator(schema()).validate(document)


def test_what_is_no_lab_does_not_fit() -> None:
    right = lab_json(CLAIMS, "any.vlab")
    for path, wrong in (
        (("format",), 99),
        (("hosts", 0, "name"), 7),
        (("hosts", 0, "more"), "x"),
        (("links", 0, "left", "addresses"), ["10.0.0.1/24", None]),
        (("expectations", 0, "claim", "claim"), "guess"),
    ):
        document = copy.deepcopy(right)
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        with pytest.raises(ValidationError):
            Draft202012Validator(schema()).validate(document)
    for key in right:
        with pytest.raises(ValidationError):
            Draft202012Validator(schema()).validate({k: v for k, v in right.items() if k != key})
