"""The compiler against golden files: a lab above, all that it compiles to or is told below."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtopo.compile.artefacts import artefacts, lab_json
from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import Checked, check_source
from vtopo.compile.resources import to_json
from vtopo.diagram.dot import dot
from vtopo.graph.topology import topology
from vtopo.lang.diagnostics import CODES
from vtopo.lang.render import gathered, render, summary
from vtopo.lang.source import Source, Unreadable
from vtopo.model.lab import Lab
from vtopo.plan.diff import diff
from vtopo.plan.render import lines
from vtopo.state.spec import from_text, to_text

HERE = Path(__file__).parent
LABS = HERE.parents[1] / "labs"
MARK = "======== "
FROM_RUNS = {"E0901"}
"""Codes that no source can show: a run reports them."""
FROM_IMPORTS = {"E0801"}
"""Codes of files of other tools; test_golden_import.py shows them."""


FILE = "-------- "
"""Begins a further file in a golden file's source: its name follows."""


def split(text: str) -> str:
    """The source of a golden file: what stands above its first mark."""
    return text.partition(MARK)[0]


def files(name: str, text: str) -> list[Source]:
    """The files of a golden file's source, the lab's own first."""
    first, *others = text.split(f"\n{FILE}")
    more = [Source(title, body) for title, _, body in (each.partition("\n") for each in others)]
    return [Source(name, first + "\n" if others else first), *more]


def check(sources: list[Source]) -> Checked:
    """What comes of the first file, with the others beside it."""
    beside = {source.path: source for source in sources[1:]}

    def read(path: str) -> Source:
        if path not in beside:
            raise Unreadable("no such file or directory")
        return beside[path]

    return check_source(sources[0], reader=read)


def section(title: str, body: str) -> str:
    return f"{MARK}{title}\n{body.rstrip()}\n"


def told(name: str, text: str) -> str:
    """What `check` says, as a golden file's lower part."""
    sources = files(name, text)
    checked = check(sources)
    seen: set[str] = set()
    parts = []
    for d, others in gathered(checked.diagnostics):
        parts.append(render(d, {s.path: s for s in sources}, others=others, more=d.code not in seen) + "\n")
        seen.add(d.code)
    return section("check", "\n".join([*parts, summary(list(checked.diagnostics))]))


def compiled(name: str, text: str) -> str:
    """Everything a lab compiles to, as a golden file's lower part."""
    checked = check(files(name, text))
    assert checked.lab is not None, [d.message for d in checked.diagnostics]
    return "".join(sections(checked.lab))


def sections(lab: Lab) -> list[str]:
    resources = compile_lab(lab)
    each = [json.dumps({"kind": r.kind, **to_json(r)}, ensure_ascii=False) for r in resources]
    for r in resources:  # as records have them
        assert to_text(r) == json.dumps(to_json(r), separators=(",", ":"), ensure_ascii=False)
        assert from_text(r.kind, to_text(r)) == r
    return [
        section("lab.json", json.dumps(lab_json(lab), indent=1, ensure_ascii=False)),
        section("resources", "\n".join(each)),
        section("plan", "\n".join(lines(diff(resources, {}, {})))),
        section("topology.dot", dot(lab, topology(lab)).source),
        *(section(name, text) for name, text in artefacts(lab).items() if name.startswith("docker/")),
    ]


def compare(path: Path, want: str, rewrite: bool) -> None:
    if rewrite:
        path.write_text(want, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == want, f"{path.name} differs; `make golden` rewrites it"


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.mark.parametrize("path", sorted((HERE / "diagnostics").glob("*.txt")), ids=lambda p: p.stem)
def test_what_a_bad_lab_is_told(path: Path, rewrite: bool) -> None:
    source = split(path.read_text(encoding="utf-8"))
    got = told("lab.vlab", source)
    code = path.stem.partition("-")[0]
    assert f"[{code}]" in got, f"{path.name} does not show {code}"
    compare(path, source + got, rewrite)


@pytest.mark.parametrize("path", sorted((HERE / "compile").glob("*.txt")), ids=lambda p: p.stem)
def test_what_a_lab_compiles_to(path: Path, rewrite: bool) -> None:
    source = split(path.read_text(encoding="utf-8"))
    compare(path, source + compiled(f"{path.stem}.vlab", source), rewrite)


@pytest.mark.parametrize("path", sorted(LABS.glob("*.vlab")), ids=lambda p: p.stem)
def test_the_example_labs_compile_without_a_word(path: Path) -> None:
    others = sorted([*LABS.glob("*.vlab"), *LABS.glob("*.j2")])
    beside = [Source(other.name, other.read_text(encoding="utf-8")) for other in others]
    checked = check([Source(path.name, path.read_text(encoding="utf-8")), *beside])
    assert [d.message for d in checked.diagnostics] == []


def test_every_diagnostic_has_a_golden_file() -> None:
    shown = {path.stem.partition("-")[0] for path in (HERE / "diagnostics").glob("*.txt")}
    assert shown == set(CODES) - FROM_RUNS - FROM_IMPORTS
