"""What Docker makes for a lab: containers and volumes."""

from __future__ import annotations

from typing import ClassVar, Literal

from vtopo.compile.resources.base import Resource
from vtopo.digests import sha256
from vtopo.model.device_limits import DeviceAccess, DeviceIo
from vtopo.values import dataclass

NetworkMode = Literal["none", "bridge", "host", "container"]
Pull = Literal["always", "missing", "never"]
State = Literal["running", "stopped", "paused", "detached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the machine (`host`, at `address` or at all of them) that leads to `container`'s port."""

    host: int
    container: int
    protocol: str = "tcp"
    address: str | None = None

    def __str__(self) -> str:
        at = f"{self.address}:" if self.address is not None else ""
        return f"{at}{self.host}:{self.container}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What is mounted at `target`: a folder or file of the machine, or (`volume`) a volume by its Docker name."""

    source: str
    target: str
    read_only: bool = False
    volume: bool = False

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}{' ro' if self.read_only else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIn:
    """A file that the container has before it starts: text, or bytes in base64 if `binary`.

    `mode` are its permission bits; `owner` is `user` or `user:group`, by name as the image knows it or by number.
    """

    path: str
    content: str
    binary: bool = False
    mode: int = 0o644
    owner: str = "root"

    def __str__(self) -> str:
        digest = sha256(self.content.encode()).hexdigest()[:8]
        return f"{self.path} ({digest}, {self.mode:o}, {self.owner})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How an image is made: from the folder `context`, whose content has the hash `digest`."""

    context: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Resource):
    """A volume of Docker's; it goes with the lab. `name` is what Docker calls it."""

    kind: ClassVar[str] = "volume"
    outlives_boot: ClassVar[bool] = True
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Resource):
    """A container of Docker's, with a terminal and open stdin.

    `node` is its full name in the lab, `name` what Docker calls it, `netns` the name of its network namespace
    where `ip netns` finds it (None: it has none of its own). `network` is Docker's part: nothing but a
    loopback, its bridge, the machine's network, or that of the container `network_of` (a Docker name).

    None stands for Docker's or the image's own: `command`, `entrypoint`, `user`, `workdir`; and for no limit:
    `cpu_quota` (microseconds of CPU time per `cpu_period`), `cpuset` (as the kernel writes it, `0-1,3`),
    `memory`, `memory_reservation` and `swap` (on top of memory) in bytes, `swappiness` (0 to 100), `pids`.
    `cpu_weight` is relative, 1024 by default; `io_weight` is 10 to 1000, 500 by default.
    With `oom` pause the kernel kills no process of it that runs out of memory, it waits instead.
    `names` are lines that its /etc/hosts has besides Docker's own.
    `restart` is Docker's policy: no, always, unless-stopped, on-failure or on-failure:COUNT.
    """

    kind: ClassVar[str] = "container"
    outlives_boot: ClassVar[bool] = True
    in_place: ClassVar[frozenset[str]] = frozenset(
        {
            "name",
            "netns",
            "state",
            "files",
            "names",
            "pull",
            "restart",
            "cpu_period",
            "cpu_quota",
            "cpu_weight",
            "cpuset",
            "memory",
            "memory_reservation",
            "swap",
            "pids",
            "io_weight",
        }
    )
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    node: str
    name: str
    netns: str | None
    hostname: str
    image: str
    build: Build | None = None
    pull: Pull = "missing"
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    workdir: str | None = None
    mounts: tuple[Mount, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    restart: str = "no"
    network: NetworkMode = "none"
    network_of: str | None = None
    publish: tuple[Port, ...] = ()
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[DeviceAccess, ...] = ()
    cpu_period: int = 100_000
    cpu_quota: int | None = None
    cpu_weight: int | None = None
    cpuset: str | None = None
    memory: int | None = None
    memory_reservation: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    oom: Literal["kill", "pause"] = "kill"
    pids: int | None = None
    io_weight: int | None = None
    io: tuple[DeviceIo, ...] = ()
    files: tuple[FileIn, ...] = ()
    names: str = ""
    state: State = "running"

    def changes_in_place(self, name: str, was: Resource) -> bool:
        """Docker changes limits, but has no way to lift some; a file that goes uncovers what the image has there."""
        if name in ("cpuset", "memory_reservation", "io_weight"):
            return getattr(self, name) is not None
        if name == "files" and isinstance(was, Container):
            return {f.path for f in was.files} <= {f.path for f in self.files}
        return name in self.in_place
