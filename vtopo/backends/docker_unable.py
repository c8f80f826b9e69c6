"""What the engine or the machine cannot do for containers, found before anything of a lab is made."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtopo.backends import docker_images, docker_marks
from vtopo.backends.base import Failed
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import words
from vtopo.compile.resources import Container, Port, Resource

_NEEDS = {
    "cpu_quota": ("CpuCfsQuota", "limit CPU time (CONFIG_CFS_BANDWIDTH)"),
    "cpu_weight": ("CPUShares", "share CPU time by weight (the cpu cgroup)"),
    "cpuset": ("CPUSet", "bind processes to CPUs (the cpuset cgroup)"),
    "memory": ("MemoryLimit", "limit memory (the memory cgroup; cgroup_enable=memory on its command line)"),
    "swap": ("SwapLimit", "limit swap (swapaccount=1 on its command line)"),
    "pids": ("PidsLimit", "limit the number of processes (the pids cgroup)"),
}
_IO_WEIGHT = (
    "/sys/fs/cgroup/blkio/blkio.weight",
    "/sys/fs/cgroup/blkio/blkio.bfq.weight",
    "/sys/fs/cgroup/system.slice/io.weight",
    "/sys/fs/cgroup/system.slice/io.bfq.weight",
)


def unable(client: Client, lab: str, batch: Sequence[Resource]) -> Iterator[Failed]:
    """Each that cannot be, and why."""
    with words():
        engine: dict[str, Any] = client.info()
    containers = [r for r in batch if isinstance(r, Container)]
    there = list(docker_marks.named(client, {r.name for r in containers}))
    foreign = {known.name: known for known in there if known.lab != lab}
    ports = _Ports(client, lab)
    images = {r.image: docker_images.config(client, r.image) for r in containers if r.build is None}
    for r in containers:
        if r.name in foreign:
            yield Failed(r.id, docker_marks.taken(r.name))
        for reason in (*_kernel(r, engine), *_files(r), *_image(r, images), *ports.taken(r)):
            yield Failed(r.id, reason)
    volumes = [r for r in batch if r.kind == "volume"]
    if volumes:
        yield from _volumes(client, lab, volumes)


def _kernel(r: Container, engine: dict[str, Any]) -> Iterator[str]:
    for name, (flag, what) in _NEEDS.items():
        if getattr(r, name) is not None and engine.get(flag) is False:
            yield f"this machine's kernel cannot {what}, which `{name.replace('_', '-')}` takes"
    if r.oom == "pause" and str(engine.get("CgroupVersion")) == "2":
        yield "a kernel with cgroup v2 cannot pause what runs out of memory; leave out `oom pause`"
    if r.swappiness is not None and str(engine.get("CgroupVersion")) == "2":
        yield "a kernel with cgroup v2 has no swappiness of a single container; leave out `swappiness`"
    if r.io_weight is not None and not any(Path(path).exists() for path in _IO_WEIGHT):
        yield (
            "this machine's kernel has no weights of block I/O (an I/O scheduler that knows them, such as bfq, "
            "brings blkio.weight or io.weight)"
        )


def _files(r: Container) -> Iterator[str]:
    for m in r.mounts:
        if not m.volume and not Path(m.source).exists():
            yield f"there is no {m.source} to bind to {m.target}"
    for path in (*(d.device for d in r.io), *(d.device for d in r.devices)):
        block = any(path == d.device for d in r.io)
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
        except OSError as e:
            yield f"the device {path}: {e.strerror}"
            continue
        if block and not stat.S_ISBLK(mode):
            yield f"{path} is no block device, so its reads and writes cannot be limited"
    if r.build is not None and not Path(r.build.context, "Dockerfile").is_file():
        yield f"there is no Dockerfile in {r.build.context}"


def _image(r: Container, images: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    if r.build is not None:
        return
    config = images[r.image]
    if config is None:
        if r.pull == "never":
            yield docker_images.missing(r.image)
    elif not (r.command or r.entrypoint or config.get("Cmd") or config.get("Entrypoint")):
        yield f"the image {r.image} names no command to run; say one with `command`"


class _Ports:
    """Who holds the machine's ports."""

    def __init__(self, client: Client, lab: str) -> None:
        ours = {known.id for known in docker_marks.containers(client, lab)}
        self._own: set[tuple[int, str]] = set()
        self._others: dict[tuple[int, str], str] = {}
        with words():
            running = client.containers()
        for each in running:
            for port in each.get("Ports") or ():
                if "PublicPort" in port:
                    key = int(port["PublicPort"]), str(port["Type"])
                    if each["Id"] in ours:
                        self._own.add(key)
                    else:
                        self._others[key] = str(each["Names"][0]).removeprefix("/")

    def taken(self, r: Container) -> Iterator[str]:
        for port in r.publish:
            key = port.host, port.protocol
            if key in self._own:  # it goes before this one comes, or the model would have found both
                continue
            if holder := self._others.get(key):
                yield f"port {port.host}/{port.protocol} of the machine is published by the container {holder}"
            elif _is_bound(port):
                yield f"port {port.host}/{port.protocol} of the machine is in use by another program"


def _is_bound(port: Port) -> bool:
    """Whether a socket cannot have the port: tried with one that is closed at once."""
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in (port.address or "") else socket.AF_INET
    with socket.socket(family, kind) as trying:
        if kind == socket.SOCK_STREAM:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as docker-proxy does
        try:
            trying.bind((port.address or "0.0.0.0", port.host))  # noqa: S104
        except OSError as e:
            return e.errno == errno.EADDRINUSE
    return False


def _volumes(client: Client, lab: str, batch: Sequence[Resource]) -> Iterator[Failed]:
    ours = docker_marks.volumes(client, lab)
    with words():
        there = {str(v["Name"]) for v in client.volumes().get("Volumes") or ()}
    for r in batch:
        name = str(getattr(r, "name"))  # noqa: B009
        if name in there and name not in ours:
            yield Failed(r.id, f"there is a Docker volume {name} that is not vtopo's")
