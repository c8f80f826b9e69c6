"""Source text to checked lab: the pure stages from text to graph in their order."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import MappingProxyType

from vtopo.graph.checks import check
from vtopo.lang.diagnostics import Diagnostics, Enough
from vtopo.lang.parser import parse
from vtopo.lang.source import Source
from vtopo.model.evaluate import evaluate
from vtopo.model.lab import Lab
from vtopo.model.modules import FileReader, Modules, Reader, no_files
from vtopo.model.params import setting_source
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a source: its lab, if no error was found, and all diagnostics.

    `sources` are the texts that diagnostics may point into, by path.
    """

    lab: Lab | None
    diagnostics: Diagnostics
    source: Source
    sources: Mapping[str, Source]


def check_source(
    source: Source,
    settings: Mapping[str, str] = MappingProxyType({}),
    reader: Reader = no_files,
    files: FileReader | None = None,
) -> Checked:
    """Parse, evaluate and check one lab file.

    `settings` are the values of its params, as text; `reader` reads the lab files that it uses, `files`
    those whose bytes it takes (all as text, if it is left out).
    """
    diagnostics = Diagnostics()
    modules = Modules(reader, diagnostics, files)
    lab = None
    with contextlib.suppress(Enough):
        file = parse(source, diagnostics)
        diagnostics.expect_gaps()
        lab = evaluate(file, settings, modules, diagnostics)
    if lab is not None and not diagnostics.failed:
        check(lab, diagnostics)
    texts = [
        source,
        *modules.sources.values(),
        *(setting_source(name, text) for name, text in settings.items()),
    ]
    sources = {each.path: each for each in texts}
    return Checked(None if diagnostics.failed else lab, diagnostics, source, sources)
