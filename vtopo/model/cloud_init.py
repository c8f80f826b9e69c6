"""Reads what a VM's cloud-init is told, and finds what it could not make sense of, or what would not reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.source import Range
from vtopo.model.contents import Contents
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.lab import CloudInit, Life
from vtopo.model.properties import Read, Setting, Settings

_NAMES = ("user-data", "meta-data", "network-config")
_CLOUD_CONFIG = "#cloud-config"
_BEGINNINGS = ("#!", "#include", "#cloud-boothook", "#part-handler", "## template: jinja")
"""What user data may begin with as well (cloud-init's documentation, User-Data Formats); or it is a mail, of parts."""
_MAIL = "mime-version:"


class CloudInitPass:
    """Reads the `cloud-init` block of each VM."""

    def __init__(self, draft: Draft, contents: Contents, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._contents = contents
        self._diagnostics = diagnostics

    def resolve(self, lives: Sequence[Life]) -> Mapping[str, CloudInit]:
        """By the names of the VMs that have such a block."""
        found: dict[str, CloudInit] = {}
        wanted = {life.node: life for life in lives}
        for node in self._draft.nodes.values():
            if node.kind != "vm":
                continue
            self._diagnostics.via = node.via
            setting = node.late.one("cloud-init", bool)
            if setting is not None:
                found[node.name] = self._of(node, setting.block or Settings())
            elif node.name in wanted:
                self._refuse(node, wanted[node.name])
        return found

    def _of(self, node: NodeDraft, block: Settings) -> CloudInit:
        texts = {}
        for name in _NAMES:
            given = block.many(name)
            texts[name] = self._text(node, name, given[0]) if given else ""
        return CloudInit(texts["user-data"], texts["meta-data"], texts["network-config"])

    def _text(self, node: NodeDraft, name: str, setting: Setting[Read]) -> str:
        content = self._contents.of(node, setting)
        if content is None:
            return ""
        try:
            text = content.decode()
        except UnicodeDecodeError as e:
            self._bad(f"the {name} is no text", setting.range, f"not UTF-8 (byte {e.start})")
            return ""
        if name == "user-data" and not text.startswith(_CLOUD_CONFIG):
            if not (text.startswith(_BEGINNINGS) or _MAIL in text[:4096].lower()):
                self._bad(
                    "cloud-init would ignore this user-data",
                    setting.range,
                    f"it begins with {text[:20]!r}",
                    f"its first line is `{_CLOUD_CONFIG}`, or that of a script, such as `#!/bin/sh`",
                )
            return text
        if (reason := _no_mapping(text)) is not None:
            self._bad(f"cloud-init cannot read this {name}", setting.range, reason)
        return text

    def _refuse(self, node: NodeDraft, life: Life) -> None:
        """What goes into a guest by cloud-init, of a VM without it; `ready` commands have the environment anyway."""
        for what, place in _by_cloud_init(life, node):
            self._diagnostics.add(
                "E0207",
                f"`{what}` goes into a guest by cloud-init, and `{node.name}` has no `cloud-init` block",
                place,
                help="`cloud-init { }`, if its image has cloud-init; else it is the image's to have this",
            )

    def _bad(self, message: str, place: Range, label: str, help: str = "") -> None:
        self._diagnostics.add("E0219", message, place, label, help=help)


def _by_cloud_init(life: Life, node: NodeDraft) -> Iterator[tuple[str, Range]]:
    yield from (("file", file.range) for file in life.files)
    yield from (("sysctl", sysctl.range) for sysctl in life.sysctls)
    yield from (("run" if command.kept else "exec", command.range) for command in life.commands)
    if life.env and not any(ready.command for ready in life.ready):
        yield from (("env", setting.range) for setting in node.late.many("env"))


def _no_mapping(text: str) -> str | None:
    """Why a text is no YAML of names and values; None if it is. Nothing of it is made: aliases cost nothing."""
    import yaml

    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as e:
        where = f", line {e.problem_mark.line + 1}" if e.problem_mark is not None else ""
        return f"no YAML{where}: {e.problem}"
    except (yaml.YAMLError, RecursionError) as e:
        return f"no YAML: {' '.join(str(e).split())}"
    return None if isinstance(node, yaml.MappingNode) else "no YAML of names and values"
