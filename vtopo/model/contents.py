"""What stands in files: a text of the lab's own, a file beside it, or what Jinja2 makes of one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range, Unreadable
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.facts import facts_of_lab, facts_of_node
from vtopo.model.modules import Modules
from vtopo.model.properties import Read, Setting


class Contents:
    """Reads the contents that properties of nodes name."""

    _lab_facts: Mapping[str, object] | None = None

    def __init__(self, draft: Draft, modules: Modules, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._modules = modules
        self._diagnostics = diagnostics

    def of(self, node: NodeDraft, setting: Setting[Read]) -> bytes | None:
        """What a property's `text` or `source` says; None, and a diagnostic, if that cannot be had."""
        text = setting.slots.get("text")
        if text is not None:
            return str(text).encode(errors="surrogatepass")
        wanted = str(setting.slots["source"])
        path = posixpath.normpath(posixpath.join(posixpath.dirname(setting.range.path), wanted))
        try:
            if not wanted or "\0" in wanted:
                raise Unreadable("there is no file of this name")
            data = self._modules.bytes_of(path)
        except Unreadable as e:
            help = "a path is relative to the file that it stands in"
            self._diagnostics.add("E0701", f"cannot read `{path}`", setting.range, str(e), help=help)
            return None
        return data if not path.endswith(".j2") else self._rendered(node, path, data, setting.range)

    def _rendered(self, node: NodeDraft, path: str, data: bytes, place: Range) -> bytes | None:
        from vtopo.model import rendering

        if self._lab_facts is None:
            self._lab_facts = facts_of_lab(self._draft)
        try:
            template = data.decode()
            text = rendering.render(path, template, facts_of_node(self._draft, node), self._lab_facts)
        except UnicodeDecodeError as e:
            self._diagnostics.add("E0701", f"cannot read `{path}`", place, f"not UTF-8 text (byte {e.start})")
            return None
        except rendering.TemplateError as e:
            self._modules.show(path, template)
            line = template.split("\n")[e.line - 1] if 0 < e.line <= template.count("\n") + 1 else ""
            first = len(line) - len(line.lstrip()) + 1
            where = Range(path, e.line, first, e.line, max(first + 1, len(line.rstrip()) + 1))
            others = [Label(place, f"rendered for `{node.name}` here")]
            self._diagnostics.add(
                "E0703",
                f"the template cannot be rendered: {e.reason}",
                where,
                "in this line",
                others=others,
                help=e.help,
            )
            return None
        return text.encode(errors="surrogatepass")
