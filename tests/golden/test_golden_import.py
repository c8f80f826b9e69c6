"""Files of other tools against golden files: the file above, the lab that comes of it, or what it is told, below."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtopo.compile.frontend import check_source
from vtopo.importing.compose import import_compose
from vtopo.importing.containerlab import import_containerlab
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.render import render
from vtopo.lang.source import Source

HERE = Path(__file__).parent
MARK = "======== "


def written(name: str, text: str) -> str:
    convert = import_compose if name.startswith("compose") else import_containerlab
    source, diagnostics = Source("/net/shop/other.yaml", text), Diagnostics()
    imported = convert(source, diagnostics)
    if imported is None:
        return f"{MARK}told\n" + "\n\n".join(render(d, {source.path: source}) for d in diagnostics) + "\n"
    checked = check_source(Source("lab.vlab", imported.text), files=lambda path: b"")
    told = [f"# {d.code}: {d.message}\n" for d in checked.diagnostics]
    return f"{MARK}lab\n{imported.text}{MARK}{imported.left} without an equivalent\n{''.join(told)}"


@pytest.mark.parametrize("path", sorted((HERE / "imports").glob("*.txt")), ids=lambda p: p.stem)
def test_what_comes_of_another_tools_file(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text(encoding="utf-8").partition(MARK)[0]
    want = text + written(path.name, text)
    if request.config.getoption("--rewrite-golden"):
        path.write_text(want, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == want, f"{path.name} differs; `make golden` rewrites it"
