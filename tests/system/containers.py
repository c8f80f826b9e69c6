"""Containers made straight through their backend, and what Docker says of them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from engine import IMAGE

from vtopo.backends.base import Done, Failed, Handle, Outcome
from vtopo.backends.docker_backend import DockerBackend
from vtopo.backends.docker_images import Transfer
from vtopo.backends.namespaces import NamespaceBackend
from vtopo.compile.resources import Container, Resource, Volume

OBEDIENT = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
"""A command that ends when it is told to: without it Docker waits ten seconds."""


@dataclass
class Dockers:
    """A lab's backend of containers, the handles of what it made, and a client of the engine for questions."""

    lab: str
    docker: docker.APIClient
    handles: dict[str, Handle] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backend = DockerBackend(self.lab, on_transfer=self.transfers.append)

    def name(self, node: str) -> str:
        return f"vtopo.{self.lab}.{node}"

    def container(self, node: str, **fields: Any) -> Container:
        own = fields.get("network", "none") in ("none", "bridge")
        return Container(
            **{
                "id": f"{node}/container",
                "node": node,
                "name": self.name(node),
                "netns": self.name(node) if own else None,
                "hostname": node,
                "image": IMAGE,
                **fields,
            }
        )

    def volume(self, name: str) -> Volume:
        return Volume(id=f"{name}/volume", name=f"vtopo.{self.lab}.{name}")

    def make(self, *batch: Resource) -> list[Outcome]:
        outcomes = list(self.backend.create(batch, self.handles))
        assert sorted(o.id for o in outcomes) == sorted(r.id for r in batch)
        self._learn(outcomes)
        return outcomes

    def must(self, *batch: Resource) -> None:
        assert [o for o in self.make(*batch) if isinstance(o, Failed)] == []

    def change(self, old: Resource, new: Resource) -> None:
        outcomes = list(self.backend.update([(old, new)], self.handles))
        assert [o for o in outcomes if isinstance(o, Failed)] == []
        self._learn(outcomes)

    def take_away(self, *batch: Resource) -> None:
        outcomes = list(self.backend.delete(batch, self.handles))
        assert [o for o in outcomes if isinstance(o, Failed)] == []

    def _learn(self, outcomes: list[Outcome]) -> None:
        self.handles.update({o.id: o.handle for o in outcomes if isinstance(o, Done)})

    def seen(self, r: Resource) -> Any:
        """What the backend finds of a resource: what it is now."""
        found = self.backend.observe([r], self.handles).get(r.id)
        return found.found if found else None

    def why_unable(self, *batch: Resource) -> list[str]:
        return [failed.reason for failed in self.backend.unable(batch)]

    def inspect(self, node: str) -> Any:
        return self.docker.inspect_container(self.name(node))

    def cgroup(self, node: str, controller: str, file: str) -> str:
        """A file of the container's cgroup, as the kernel has it (v1, or v2 where `controller` is not mounted)."""
        pid = self.inspect(node)["State"]["Pid"]
        lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
        path = next(path for _, controllers, path in lines if controller in controllers.split(","))
        return Path(f"/sys/fs/cgroup/{controller}{path}/{file}").read_text().strip()

    def run(self, node: str, *argv: str) -> str:
        """The output of a command in a container, by docker(1)'s way in."""
        made = self.docker.exec_create(self.name(node), list(argv))
        out: bytes = self.docker.exec_start(made["Id"])
        assert self.docker.exec_inspect(made["Id"])["ExitCode"] == 0, out
        return out.decode()

    def netns(self, node: str, *argv: str) -> str:
        """The output of one of the machine's commands in the container's network namespace, by its name."""
        command = ["ip", "netns", "exec", self.name(node), *argv]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def close(self) -> None:
        self.backend.sweep()
        NamespaceBackend(self.lab).sweep()  # it has the names in /run/netns


def dockers_of(lab: str, client: docker.APIClient) -> Iterator[Dockers]:
    dockers = Dockers(lab, client)
    try:
        yield dockers
    finally:
        dockers.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
