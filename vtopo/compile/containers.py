"""A lab's containers to what Docker is to have: containers, and the volumes that they name."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Iterator, Sequence

from vtopo.compile import resources as res
from vtopo.compile.cgroups import cpu_list
from vtopo.compile.life import host_names
from vtopo.compile.resources.cgroups import CPU_PERIOD
from vtopo.model.lab import Container, Host, Lab, Limits, NodeFile

NameOf = Callable[[str, str | None], str]
"""The name of something of a lab's on the machine, by the lab's and the node's names."""
_MOST_IO_WEIGHT, _LEAST_IO_WEIGHT = 1000, 10
_IPV6_ON = tuple((f"net.ipv6.conf.{part}.disable_ipv6", "0") for part in ("all", "default"))
"""Docker turns IPv6 off in a container that none of its own networks gives an IPv6 address."""


Awaited = Callable[[str], tuple[str, ...]]
"""The ids of what is to be over before a node is made, by its name."""


def containers(
    lab: Lab, name_of: NameOf, awaited: Awaited, root: str | None = None
) -> Iterator[res.Resource]:
    """Volumes, each once, then the containers; paths of the machine are relative to `root`."""
    if not lab.containers:
        return
    hosts = {host.name: host for host in lab.hosts}
    files = {life.node: life.files for life in lab.lives}
    volumes: dict[str, res.Volume] = {}
    for c in lab.containers:
        for mount in c.mounts:
            if mount.volume and mount.source not in volumes:
                volume = res.Volume(
                    id=_volume_id(mount.source),
                    origin=hosts[c.node].range,
                    name=name_of(lab.name, mount.source),
                )
                volumes[mount.source] = volume
                yield volume
    names = host_names(lab)
    waiting = sorted(lab.containers, key=lambda c: c.network_of is not None)  # an owner comes first
    for c in waiting:
        made = _container(lab, c, hosts[c.node], files.get(c.node, ()), names, name_of, root or "")
        yield dataclasses.replace(made, follows=awaited(c.node))


def _container(
    lab: Lab,
    c: Container,
    host: Host,
    files: Sequence[NodeFile],
    names: str,
    name_of: NameOf,
    root: str,
) -> res.Container:
    own = c.network in ("none", "bridge")
    own_hosts = "/etc/hosts" in {*(m.target for m in c.mounts), *(f.path for f in files)}
    limits = host.limits or Limits()
    quota = limits.cpus * CPU_PERIOD // 1000 if limits.cpus is not None else None
    swap = 0 if limits.swap is None and limits.memory is not None else limits.swap
    needs = [_volume_id(m.source) for m in c.mounts if m.volume]
    sharing = (_container_id(c.network_of),) if c.network_of is not None else ()
    build = None
    if c.build is not None:
        build = res.Build(context=posixpath.join(posixpath.dirname(host.range.path), c.build), digest="")
    return res.Container(
        id=_container_id(c.node),
        needs=(*dict.fromkeys(needs), *sharing),
        within=(),
        origin=host.range,
        node=c.node,
        name=name_of(lab.name, c.node),
        netns=name_of(lab.name, c.node) if own else None,
        hostname=c.node.replace(".", "-"),
        image=c.image or "",
        build=build,
        pull=c.pull,  # type: ignore[arg-type]
        command=c.command,
        entrypoint=c.entrypoint,
        env=tuple(f"{key}={value}" for key, value in c.env),
        user=c.user,
        workdir=c.workdir,
        mounts=tuple(
            res.Mount(
                source=name_of(lab.name, m.source)
                if m.volume
                else posixpath.normpath(posixpath.join(root, m.source)),
                target=m.target,
                read_only=m.read_only,
                volume=m.volume,
            )
            for m in c.mounts
        ),
        labels=c.labels,
        sysctls=_IPV6_ON if own else (),
        restart=c.restart,
        network=c.network,  # type: ignore[arg-type]
        network_of=name_of(lab.name, c.network_of) if c.network_of is not None else None,
        publish=tuple(res.Port(host=p.host, container=p.container, protocol=p.protocol) for p in c.publish),
        privileged=c.privileged,
        cap_add=c.cap_add,
        cap_drop=c.cap_drop,
        devices=tuple(rule for rule in limits.device_rules if rule.access),
        cpu_quota=quota,
        cpu_weight=limits.cpu_weight,
        cpuset=cpu_list(limits.cpuset) or None,
        memory=limits.memory,
        memory_reservation=limits.memory_reservation,
        swap=swap,
        swappiness=limits.swappiness,
        oom="pause" if limits.oom == "pause" else "kill",
        pids=limits.pids,
        io_weight=_io_weight(limits.io_weight),
        io=limits.io,
        files=tuple(
            res.FileIn(path=f.path, content=f.content, binary=f.binary, mode=f.mode, owner=f.owner)
            for f in files
        ),
        names=names if own and not own_hosts else "",
    )


def _io_weight(weight: int | None) -> int | None:
    """Docker's weights of block I/O are 10 to 1000, and 500 where ours is 100."""
    return None if weight is None else max(_LEAST_IO_WEIGHT, min(weight * 5, _MOST_IO_WEIGHT))


def _volume_id(name: str) -> str:
    return f"{name}/volume"


def _container_id(node: str) -> str:
    return f"{node}/container"
