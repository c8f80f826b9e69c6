"""What goes on in nodes: reads commands, daemons, files and the like, and checks what only the whole lab shows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model import lab as model
from vtopo.model.contents import Contents
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.names import Scope
from vtopo.model.properties import Read, Settings
from vtopo.model.text import text_of

DEADLINE = 10_000_000
GUEST_DEADLINE = 120_000_000
"""Microseconds that a node, and one that has to boot, may take to get ready where `within` does not say."""

_MODE = re.compile(r"0?[0-7]{3,4}")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""What programs in containers take for a variable's name, though no shell does: `discovery.type`."""
_SYSCTL = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_.:@-]+)+")
_NEVER = ("/proc", "/sys", "/dev")


class LifePass:
    """Reads the life of each node."""

    def __init__(self, draft: Draft, scope: Scope, contents: Contents, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._scope = scope
        self._contents = contents
        self._diagnostics = diagnostics

    def resolve(self, sharing: Mapping[str, str]) -> tuple[model.Life, ...]:
        """The nodes in which something goes on; `sharing` has those whose network is another's, which comes first."""
        lives = []
        for node in self._draft.nodes.values():
            if not (node.is_bridge or node.is_module) and (node.settings.found or node.late.found):
                self._diagnostics.via = node.via
                life = self._of(node)
                if not life.is_empty:
                    lives.append(life)
        self._check_circles({life.node: life for life in lives}, sharing)
        return tuple(lives)

    def _of(self, node: NodeDraft) -> model.Life:
        late = node.late
        return model.Life(
            node.name,
            tuple(self._env(late, _DOTTED if node.kind == "container" else _VARIABLE)),
            tuple(self._files(node)),
            tuple(self._binds(node)),
            tuple(self._sysctls(node)),
            tuple(_commands(node)),
            tuple(self._ready(node)),
            tuple(self._after(node)),
            node.range,
        )

    def _env(self, settings: Settings, name: re.Pattern[str]) -> Iterator[tuple[str, str]]:
        for setting in settings.many("env"):
            key = str(setting.slots["key"])
            if not name.fullmatch(key):
                self._bad("this is no name of a variable", setting.range, "letters, digits and _")
            yield key, text_of(setting.slots["value"])

    def _sysctls(self, node: NodeDraft) -> Iterator[model.Setting]:
        for setting in node.late.many("sysctl"):
            key = str(setting.slots["key"])
            if not _SYSCTL.fullmatch(key):
                self._bad("this is no kernel setting", setting.range, "such as net.ipv4.ip_forward")
            elif not key.startswith("net.") and node.kind != "vm":
                self._bad(
                    f"`{key}` is the whole machine's",
                    setting.range,
                    "not a host's",
                    help="a host has its own of those that begin with `net.`",
                )
            yield model.Setting(key, text_of(setting.slots["value"]), setting.range)

    # Files

    def _files(self, node: NodeDraft) -> Iterator[model.NodeFile]:
        binds = [str(s.slots["target"]).rstrip("/") for s in node.settings.many("bind")]
        for setting in node.late.many("file"):
            path = str(setting.slots["path"])
            self._check_path("file", path, setting.range, _NEVER)
            if any(path.startswith(f"{bind}/") for bind in binds):
                self._bad(
                    f"`{path}` is in a bind",
                    setting.range,
                    "the machine's file would be written",
                    help="write the file on the machine, or bind another folder",
                )
            content = self._contents.of(node, setting)
            block = setting.block or Settings()
            mode, owner = block.one("mode", str), block.one("owner", str)
            if mode is not None and not _MODE.fullmatch(mode.value):
                self._bad("these are no permissions", mode.range, 'octal digits, such as "0644"')
                mode = None
            if owner is not None and not _OWNER.fullmatch(owner.value):
                self._bad("this is no owner", owner.range, '`USER` or `USER:GROUP`, such as "root"')
            if content is None:
                continue
            try:
                text, binary = content.decode(), False
            except UnicodeDecodeError:
                import base64

                text, binary = base64.b64encode(content).decode(), True
            yield model.NodeFile(
                path,
                text,
                binary,
                int(mode.value, 8) if mode is not None else 0o644,
                owner.value if owner is not None else "0:0",
                setting.range,
            )

    def _binds(self, node: NodeDraft) -> Iterator[model.Bind]:
        seen: dict[str, Range] = {}
        for setting in node.settings.many("bind"):
            source, target = str(setting.slots["source"]), str(setting.slots["target"])
            if not source or "\0" in source:
                self._bad("a bind shows a path of the machine", setting.range, "this is none")
            source = posixpath.normpath(posixpath.join(posixpath.dirname(setting.range.path), source))
            self._check_path("bind", target, setting.range, ("/proc", "/sys", "/dev", "/run/vtopo-init"))
            if target in seen:
                others = [Label(seen[target], "first here")]
                self._diagnostics.add(
                    "E0205", f"two binds at `{target}`", setting.range, "a second", others=others
                )
            seen[target] = setting.range
            yield model.Bind(source, target.rstrip("/"), setting.slots.get("mode") == "ro", setting.range)

    def _check_path(self, what: str, path: str, place: Range, never: tuple[str, ...]) -> None:
        if not path.startswith("/") or ".." in path.split("/") or posixpath.normpath(path) in ("/", "//"):
            self._bad(f"this is no place for a {what}", place, "a path from `/` on, without `..`")
        elif path.endswith("/") and what == "file":
            self._bad("this is a folder's name", place, "a file's does not end with `/`")
        elif any(path == top or path.startswith(f"{top}/") for top in never):
            self._bad(f"`{path}` is the kernel's", place, f"no {what} can be there")

    # Order

    def _ready(self, node: NodeDraft) -> Iterator[model.Ready]:
        for setting in node.late.many("ready"):
            slots = setting.slots
            port, text, command, within = (slots.get(n) for n in ("port", "log", "command", "within"))
            assert port is None or isinstance(port, int)
            assert text is None or isinstance(text, str)
            if node.kind == "vm" and port is not None and not any(end.addresses for end in node.ends):
                self._bad(
                    f"`{node.name}` has no address",
                    setting.range,
                    "where is this port asked for?",
                    help="ports are asked for at the addresses of its links; or say `ready log` or `ready agent`",
                )
            deadline = GUEST_DEADLINE if node.kind == "vm" else DEADLINE
            yield model.Ready(
                port,
                text,
                _words(command) if command is not None else (),
                within if isinstance(within, int) else deadline,
                setting.range,
            )

    def _after(self, node: NodeDraft) -> Iterator[str]:
        for setting in node.settings.many("after"):
            assert isinstance(setting.value, ast.Reference)
            found = self._scope.find(setting.value, node.parent)
            for other in found or ():
                if other.is_bridge or other.is_module:
                    self._diagnostics.add(
                        "E0306",
                        f"`{other.name}` is a {other.kind}",
                        setting.range,
                        "nothing gets ready there",
                    )
                elif other is node:
                    self._diagnostics.add(
                        "E0607", f"`{node.name}` waits for itself", setting.range, "for ever"
                    )
                else:
                    yield other.name

    def _check_circles(self, lives: Mapping[str, model.Life], sharing: Mapping[str, str]) -> None:
        """Nodes that wait for each other would wait for ever."""

        def awaited(node: str) -> Iterator[str]:
            yield from lives[node].after if node in lives else ()
            yield from [sharing[node]] if node in sharing else ()

        done: set[str] = set()
        for start in lives:
            path: list[str] = []
            stack: list[tuple[str, Iterator[str]]] = [(start, awaited(start))] if start not in done else []
            path = [start]
            while stack:
                name, rest = stack[-1]
                following = next((n for n in rest if (n in lives or n in sharing) and n not in done), None)
                if following is None:
                    done.add(name)
                    stack.pop()
                    path.pop()
                elif following in path:
                    circle = [*path[path.index(following) :], following]
                    shared = (
                        "; who shares a network waits for whose it is" if set(circle) & set(sharing) else ""
                    )
                    self._diagnostics.add(
                        "E0607",
                        f"nodes wait for each other: {' → '.join(circle)}",
                        self._draft.nodes[following].range,
                        "waits for ever",
                        others=[Label(self._draft.nodes[n].range, "") for n in circle[1:-1]],
                        help=f"leave one `after` out{shared}",
                    )
                    return
                else:
                    stack.append((following, awaited(following)))
                    path.append(following)

    def _bad(self, message: str, place: Range, label: str, help: str = "") -> None:
        self._diagnostics.add("E0206", message, place, label, help=help)


def _commands(node: NodeDraft) -> Iterator[model.Command]:
    """`exec` and `run` in the order of the text."""
    rest = {name: iter(node.late.many(name)) for name in ("exec", "run")}
    for statement in node.statements:
        name = statement.key.text
        for _ in statement.values if name in rest else ():
            setting = next(rest[name], None)
            if setting is not None:
                yield model.Command(name == "run", _words(setting.value), setting.range)


def _words(value: Read) -> tuple[str, ...]:
    """A string goes to the shell, a list runs as it is."""
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return ("/bin/sh", "-c", str(value))
