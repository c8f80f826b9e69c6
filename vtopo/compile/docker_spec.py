"""What Docker's API is asked for: the bodies of its requests that make and change a container.

Docker Engine API, ContainerCreate and ContainerUpdate: https://docs.docker.com/engine/api/v1.41/
"""

from __future__ import annotations

from collections.abc import Iterable

from vtopo.compile.resources import Container, DeviceIo, Json, Mount

LAB, NODE = "vtopo.lab", "vtopo.node"
"""The labels that mark what is vtopo's: the lab's name, and the node's full name."""
NO_LIMIT = 0x7FFFFFFFFFFFF000
"""The most memory that the kernel can count: how a limit is lifted in place.

Docker takes 0 for "as it is", refuses -1 of memory, and keeps -1 of swap from a container that runs.
"""
_UNLIMITED = -1


def labels(lab: str, node: str | None = None) -> dict[str, str]:
    """The marks of a lab's container or, without a node, of what else Docker keeps for it."""
    return {LAB: lab, **({NODE: node} if node is not None else {})}


def create_body(c: Container, lab: str) -> dict[str, Json]:
    """The body of `POST /containers/create`; what is left to Docker or to the image is not in it."""
    return {
        "Image": c.image,
        "Hostname": None if c.network in ("host", "container") else c.hostname,
        "Tty": True,
        "OpenStdin": True,
        **_given(
            Cmd=_list(c.command),
            Entrypoint=_list(c.entrypoint),
            Env=list(c.env),
            User=c.user,
            WorkingDir=c.workdir,
            ExposedPorts={f"{p.container}/{p.protocol}": {} for p in c.publish},
        ),
        "Labels": {**dict(c.labels), **labels(lab, c.node)},
        "HostConfig": {
            **_given(
                Mounts=[_mount(m) for m in c.mounts],
                Sysctls=dict(c.sysctls),
                ExtraHosts=[f"{name}:{address}" for address, name in host_entries(c.names)],
                PortBindings=_bindings(c),
                Privileged=c.privileged,
                CapAdd=list(c.cap_add),
                CapDrop=list(c.cap_drop),
                Devices=[
                    {"PathOnHost": d.device, "PathInContainer": d.device, "CgroupPermissions": d.access}
                    for d in c.devices
                ],
                RestartPolicy=_restart(c.restart) if c.restart != "no" else None,
            ),
            "NetworkMode": f"container:{c.network_of}" if c.network == "container" else c.network,
            **_limits(c),
        },
    }


def update_body(c: Container) -> dict[str, Json]:
    """The body of `POST /containers/NAME/update`: every limit that Docker changes in place, lifted where None."""
    body: dict[str, Json] = {
        "CpuPeriod": c.cpu_period,
        "CpuQuota": _or(c.cpu_quota, _UNLIMITED),
        "CpuShares": _or(c.cpu_weight, 1024),
        "Memory": _or(c.memory, NO_LIMIT),
        "MemorySwap": _most(memory_swap(c)),
        "PidsLimit": _or(c.pids, _UNLIMITED),
        "RestartPolicy": _restart(c.restart),
        **_given(CpusetCpus=c.cpuset, MemoryReservation=c.memory_reservation, BlkioWeight=c.io_weight),
    }
    return body


def memory_swap(c: Container) -> int | None:
    """Docker's limit of memory and swap together; None if there is none of memory."""
    if c.memory is None:
        return None
    return _UNLIMITED if c.swap is None else c.memory + c.swap


def _limits(c: Container) -> dict[str, Json]:
    return _given(
        CpuPeriod=c.cpu_period if c.cpu_quota is not None else None,
        CpuQuota=c.cpu_quota,
        CpuShares=c.cpu_weight,
        CpusetCpus=c.cpuset,
        Memory=c.memory,
        MemoryReservation=c.memory_reservation,
        MemorySwap=memory_swap(c),
        MemorySwappiness=c.swappiness,
        OomKillDisable=c.oom == "pause",
        PidsLimit=c.pids,
        BlkioWeight=c.io_weight,
        BlkioDeviceReadBps=_rates((d, d.read_bytes) for d in c.io),
        BlkioDeviceWriteBps=_rates((d, d.write_bytes) for d in c.io),
        BlkioDeviceReadIOps=_rates((d, d.read_iops) for d in c.io),
        BlkioDeviceWriteIOps=_rates((d, d.write_iops) for d in c.io),
    )


def host_entries(names: str) -> list[tuple[str, str]]:
    """Each address with each of its names, as the lines of a hosts(5) file have them."""
    lines = [line.partition("#")[0].split() for line in names.splitlines()]
    return [(address, name) for address, *others in filter(None, lines) for name in others]


def _rates(rates: Iterable[tuple[DeviceIo, int | None]]) -> list[Json]:
    return [{"Path": d.device, "Rate": rate} for d, rate in rates if rate is not None]


def _mount(m: Mount) -> Json:
    return {
        "Type": "volume" if m.volume else "bind",
        "Source": m.source,
        "Target": m.target,
        "ReadOnly": m.read_only,
    }


def _bindings(c: Container) -> dict[str, Json]:
    bindings: dict[str, list[Json]] = {}
    for p in c.publish:
        at: dict[str, Json] = {"HostIp": p.address or "", "HostPort": str(p.host)}
        bindings.setdefault(f"{p.container}/{p.protocol}", []).append(at)
    return {key: list(value) for key, value in bindings.items()}


def _restart(policy: str) -> Json:
    name, _, count = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _most(limit: int | None) -> int:
    return NO_LIMIT if limit in (None, _UNLIMITED) else limit


def _list(words: tuple[str, ...] | None) -> list[Json] | None:
    return None if words is None else list(words)


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _given(**values: Json) -> dict[str, Json]:
    """Those that say something: swappiness 0 does, an empty list or a false switch does not.

    An empty command is one: it takes the image's away.
    """
    return {
        key: value
        for key, value in values.items()
        if value is not None and value is not False and (key in _MAY_BE_EMPTY or value not in ([], {}))
    }


_MAY_BE_EMPTY = frozenset({"Cmd", "Entrypoint"})
