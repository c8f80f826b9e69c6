"""Reads what containers say of Docker, and finds what contradicts itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model import lab as model
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.names import Scope
from vtopo.model.properties import Read, Setting
from vtopo.model.text import text_of
from vtopo.model.uplinks import Ports

_CAPABILITY = re.compile(r"(?:CAP_)?[A-Z][A-Z_]{1,40}|ALL")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SAY_THERE = "say it of the node whose network it is; the machine's own is left as it is"


class ContainerPass:
    """Reads each container; the ports of the machine are one for all, uplinks too."""

    def __init__(self, draft: Draft, scope: Scope, ports: Ports, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._scope = scope
        self._diagnostics = diagnostics
        self._ports = ports

    def resolve(self) -> tuple[model.Container, ...]:
        """The lab's containers."""
        found = []
        for node in self._draft.nodes.values():
            if node.kind == "container":
                self._diagnostics.via = node.via
                found.append(self._of(node))
        return tuple(found)

    def _of(self, node: NodeDraft) -> model.Container:
        settings = node.settings
        image, build = settings.one("image", str), settings.one("build", str)
        unread = image is build and not self._diagnostics.unread.isdisjoint(("image", "build"))
        if (image is None) == (build is None) and not unread:
            self._bad(
                f"`{node.name}` has {'two images' if image is not None else 'no image'}",
                node.range if image is None or build is None else build.range,
                "one of `image` and `build`" if image is not None else 'such as `image "alpine:3.20"`',
            )
        if image is not None and not _IMAGE.fullmatch(image.value):
            self._bad(f"{image.value!r} is no image's name", image.range, "such as alpine:3.20")
        network, other = self._network(node)
        self._limits(node)
        return model.Container(
            node.name,
            image.value if image is not None else None,
            build.value if build is not None else None,
            _words(node.late.many("command")),
            _words(node.late.many("entrypoint")),
            tuple(self._pairs(node, "env")),
            tuple(self._pairs(node, "label")),
            (*self._binds(node), *self._volumes(node)),
            network,
            other,
            tuple(self._publish(node, network)),
            settings.value("privileged", bool) or False,
            tuple(self._capabilities(node, "cap-add")),
            tuple(self._capabilities(node, "cap-drop")),
            _text(settings.many("user")),
            settings.value("workdir", str),
            settings.value("restart", str) or "no",
            settings.value("pull", str) or "missing",
        )

    # Its network

    def _network(self, node: NodeDraft) -> tuple[str, str | None]:
        for setting in node.settings.many("network"):
            mode = setting.slots.get("mode")
            if isinstance(mode, str):
                if mode == "host":
                    self._no_links(node, setting, "it has the machine's network")
                return mode, None
            other = self._other(node, setting)
            self._no_links(node, setting, "plug the links into the container whose network it shares")
            return "container", other
        return "none", None

    def _other(self, node: NodeDraft, setting: Setting[Read]) -> str | None:
        reference = setting.slots["container"]
        assert isinstance(reference, ast.Reference)
        for other in self._scope.find(reference, node.parent) or ():
            if other.kind != "container" or other is node:
                self._bad(
                    f"`{other.name}` is {'the container itself' if other is node else f'a {other.kind}'}",
                    setting.range,
                    "another container is needed",
                )
            elif other.settings.many("network") and "container" in other.settings.many("network")[0].slots:
                self._bad(
                    f"`{other.name}` has no network of its own",
                    setting.range,
                    "name the container whose network it shares",
                )
            else:
                return other.name
        return None

    def _no_links(self, node: NodeDraft, setting: Setting[Read], help: str) -> None:
        for own in node.late.many("sysctl"):
            others = [Label(setting.range, "not its own")]
            self._bad(
                f"`{node.name}` has no network of its own to set this in", own.range, "", others, _SAY_THERE
            )
        for end in node.ends:
            if end.peer is None and end.addresses:
                others = [Label(setting.range, "not its own")]
                message = f"`{node.name}` has no network of its own for addresses"
                self._bad(message, end.range, "", others, _SAY_THERE)
        plugged = [end for end in node.ends if end.peer is not None]
        if plugged:
            others = [Label(plugged[0].range, "plugged in here")]
            message = f"`{node.name}` has links, and no network of its own for them"
            self._bad(message, setting.range, "with this", others, help)

    def _publish(self, node: NodeDraft, network: str) -> Iterator[model.Publish]:
        for setting in node.settings.many("publish"):
            ports = setting.value
            assert isinstance(ports, tuple)
            host, container = (int(port) for port in ports)
            protocol = str(setting.slots.get("protocol", "tcp"))
            if network != "bridge":
                self._bad(
                    "a port is published through Docker's bridge",
                    setting.range,
                    f"`{node.name}` has `network {network}`",
                    help="add `network bridge`",
                )
            first, place = self._ports.setdefault((host, protocol), (node, setting.range))
            if place is not setting.range:
                others = [Label(place, f"by `{first.name}`")]
                self._bad(
                    f"the machine's port {host} is published twice", setting.range, "again here", others
                )
            yield model.Publish(host, container, protocol)

    # What it sees

    def _binds(self, node: NodeDraft) -> Iterator[model.Mount]:
        for setting in node.settings.many("bind"):
            source = str(setting.slots["source"])
            if not source or "\0" in source:
                self._bad("a bind shows a path of the machine", setting.range, "this is none")
            source = posixpath.normpath(posixpath.join(posixpath.dirname(setting.range.path), source))
            yield self._mount(setting, source, volume=False)

    def _volumes(self, node: NodeDraft) -> Iterator[model.Mount]:
        for setting in node.settings.many("volume"):
            name = str(setting.slots["volume"])
            if not _VOLUME.fullmatch(name):
                help = f'a folder of the machine is `bind "{name}" -> …`' if name.startswith("/") else ""
                self._bad(f"{name!r} is no volume's name", setting.range, "letters, digits, _ . -", help=help)
            yield self._mount(setting, name, volume=True)

    def _mount(self, setting: Setting[Read], source: str, *, volume: bool) -> model.Mount:
        target = str(setting.slots["target"])
        if not target.startswith("/") or posixpath.normpath(target) == "/":
            self._bad(f"`{target}` is no place in a container", setting.range, "a path such as `/data`")
        return model.Mount(source, target, setting.slots.get("mode") == "ro", volume)

    def _pairs(self, node: NodeDraft, name: str) -> Iterator[tuple[str, str]]:
        for setting in node.late.many(name):
            key = str(setting.slots["key"])
            if not _VARIABLE.fullmatch(key):
                self._bad(f"{key!r} is no name", setting.range, "letters, digits and _")
            yield key, text_of(setting.slots["value"])

    # What it may

    def _capabilities(self, node: NodeDraft, name: str) -> Iterator[str]:
        for setting in node.settings.many(name):
            assert isinstance(setting.value, tuple)
            for capability in map(str, setting.value):
                if not _CAPABILITY.fullmatch(capability):
                    self._bad(f"`{capability}` is no capability", setting.range, "such as NET_ADMIN, or ALL")
                yield capability.removeprefix("CAP_")

    def _limits(self, node: NodeDraft) -> None:
        for name in ("swap", "oom"):
            setting = next(iter(node.settings.many(name)), None)
            asks = setting is not None and setting.value != "kill"
            if setting is not None and asks and node.settings.one("memory", int) is None:
                self._bad(
                    f"`{name}` of a container needs `memory`", setting.range, "there is no limit to go past"
                )

    def _bad(
        self, message: str, place: Range, label: str, others: list[Label] | None = None, help: str = ""
    ) -> None:
        self._diagnostics.add("E0216", message, place, label, others=others or [], help=help)


def _words(found: list[Setting[Read]]) -> tuple[str, ...] | None:
    """A command's words; a string is for the shell."""
    for setting in found:
        value = setting.value
        if isinstance(value, str):
            return ("/bin/sh", "-c", value)
        if isinstance(value, tuple):
            return tuple(map(str, value))
    return None


def _text(found: list[Setting[Read]]) -> str | None:
    return next((str(setting.value) for setting in found), None)
