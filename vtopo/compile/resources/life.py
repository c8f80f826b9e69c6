"""What goes on in hosts: commands, daemons, when a host counts as ready, its files and binds."""

from __future__ import annotations

from typing import ClassVar, Literal

from vtopo.compile.resources.base import Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor(Resource):
    """The one process of a lab that keeps its hosts' daemons running and their output in logs."""

    kind: ClassVar[str] = "supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec(Resource):
    """A command that is run to its end, once per making of the host, and must succeed.

    `host` is the id of the Host, `node` its full name; `command` the words to run, `env` has `KEY=value`s.
    """

    kind: ClassVar[str] = "exec"
    host: str
    node: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Resource):
    """A daemon that is kept running; `name` is that of its log, one per host. Held, it waits to be resumed."""

    kind: ClassVar[str] = "run"
    in_place: ClassVar[frozenset[str]] = frozenset({"state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("node", "name"),)
    host: str
    node: str
    name: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    state: Literal["running", "held"] = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Resource):
    """That a host is ready within `milliseconds`.

    `tcp`: something listens on `port` there; `command`: it succeeds, tried again and again; `log`: one of
    the host's daemons has printed `text`.
    """

    kind: ClassVar[str] = "ready"
    host: str
    node: str
    condition: Literal["tcp", "command", "log"]
    milliseconds: int
    port: int | None = None
    command: tuple[str, ...] = ()
    text: str | None = None
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Resource):
    """A file in a host's root: text, or bytes in base64 if `binary`.

    `mode` are its permission bits; `owner` is `user` or `user:group`, by name as the host knows it or by number.
    """

    kind: ClassVar[str] = "file"
    in_place: ClassVar[frozenset[str]] = frozenset({"content", "binary", "mode", "owner"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("host", "path"),)
    host: str
    node: str
    path: str
    content: str
    binary: bool = False
    mode: int = 0o644
    owner: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Resource):
    """A file or folder of the machine, shown in a host at `path`; nothing in it can be written if `read_only`."""

    kind: ClassVar[str] = "bind"
    in_place: ClassVar[frozenset[str]] = frozenset({"read_only"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("host", "path"),)
    host: str
    node: str
    source: str
    path: str
    read_only: bool = False
