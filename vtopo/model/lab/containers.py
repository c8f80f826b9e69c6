"""Containers, with what they are made of."""

from __future__ import annotations

from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Publish:
    """The machine's port `host` leads to the container's port `container`."""

    host: int
    container: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Mount:
    """What a container sees at `target`: a path of the machine or, if `volume`, one of the lab's volumes."""

    source: str
    target: str
    read_only: bool
    volume: bool


@dataclass(frozen=True, slots=True)
class Container:
    """What a container is besides a node like any other; None is Docker's default, or the image's own.

    `build` is the folder that the image is built from. `network` is none, bridge,
    host or container; `network_of` is then the node whose network it shares.
    """

    node: str
    image: str | None
    build: str | None
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    network: str
    network_of: str | None
    publish: tuple[Publish, ...]
    privileged: bool
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    user: str | None
    workdir: str | None
    restart: str
    pull: str
