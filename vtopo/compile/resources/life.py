"""What goes on in hosts and containers: commands, daemons, when one counts as ready; a host's files and binds."""

from __future__ import annotations

from typing import ClassVar, Literal

from vtopo.compile.resources.base import Resource
from vtopo.compile.resources.containers import Container
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor(Resource):
    """The one process of a lab that keeps its nodes' daemons running and their output in logs.

    It `watches` Docker for containers that are started anew, and has them plugged in again.
    """

    kind: ClassVar[str] = "supervisor"
    in_place: ClassVar[frozenset[str]] = frozenset({"watches"})
    watches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside(Resource):
    """What goes on in a node: `host` is the id of the Host or Container, `node` its full name."""

    host: str
    node: str

    @property
    def in_container(self) -> bool:
        """Whether that node is a container, and no host."""
        return self.host.endswith(f"/{Container.kind}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec(Inside):
    """A command that is run to its end, once per making of the node, and must succeed.

    `command` are the words to run, `env` has `KEY=value`s; a container has its environment by itself.
    """

    kind: ClassVar[str] = "exec"
    command: tuple[str, ...]
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Inside):
    """A daemon that is kept running; `name` is that of its log, one per node. Held, it waits to be resumed."""

    kind: ClassVar[str] = "run"
    in_place: ClassVar[frozenset[str]] = frozenset({"state"})
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("node", "name"),)
    name: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    state: Literal["running", "held"] = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Inside):
    """That a node is ready within `milliseconds`.

    `tcp`: something listens on `port` there; `command`: it succeeds, tried again and again; `log`: one of
    its daemons, or a container's own program, has printed `text`.
    """

    kind: ClassVar[str] = "ready"
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
