"""What the machine has for limits and memory: cgroups and their controllers, swap, swappiness, overcommit."""

from __future__ import annotations

from collections.abc import Iterator

from vtopo.doctor.findings import Finding, Health, Root

_WANTED = ("cpu", "cpuset", "memory", "io", "pids")
_MEANS = {
    "cpu": "`cpus` and `cpu-weight`",
    "cpuset": "`cpuset`",
    "memory": "`memory`, `swap`, `oom`",
    "io": "`io`",
    "pids": "`pids`",
}
_OVERCOMMIT = {
    0: ("by the kernel's judgement", ""),
    1: ("always", "memory that nodes ask for is never refused: they are killed when it runs out"),
    2: ("never", "large nodes may be refused memory that they would not use"),
}


def findings(root: Root) -> Iterator[Finding]:
    """All of them."""
    yield from _cgroups(root)
    yield _swap(root)
    yield _swappiness(root)
    yield _overcommit(root)


def _cgroups(root: Root) -> Iterator[Finding]:
    one, two = set[str](), set[str]()
    for line in (root.read("/proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = [*right.split(" ", 2), "", ""][:3]
        if kind == "cgroup":
            one |= {{"blkio": "io"}.get(name, name) for name in options.split(",")} & {*_WANTED, "devices"}
        elif kind == "cgroup2":
            two |= set((root.read(f"{left.split()[4]}/cgroup.controllers") or "").split())
    version = "v1" if one and not two & set(_WANTED) else "v2" if not one else "v1 and v2"
    there = sorted((one | two) & {*_WANTED, "devices"})
    if not there:
        yield Finding(
            "cgroups",
            "cgroups",
            Health.BAD,
            "no controllers",
            "no limits of nodes",
            "mount -t cgroup2 none /sys/fs/cgroup",
        )
        return
    missing = [name for name in _WANTED if name not in there]
    lost = ", ".join(_MEANS[name] for name in missing)
    yield Finding(
        "cgroups",
        f"cgroups {version}",
        Health.NOTE if missing else Health.GOOD,
        ", ".join(there),
        f"not here: {lost}" if missing else "every limit can be kept",
        "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and boot"
        if missing and one
        else "",
    )


def _swap(root: Root) -> Finding:
    lines = (root.read("/proc/swaps") or "").splitlines()[1:]
    total = sum(int(line.split()[2]) for line in lines if len(line.split()) > 2)
    if total:
        return Finding(
            "swap", "swap", Health.GOOD, f"{total >> 10} MiB", "memory that is not used can go there"
        )
    return Finding(
        "swap",
        "swap",
        Health.NOTE,
        "none",
        "a lab larger than memory is killed, not slowed; `swap` limits have nothing to limit",
        "fallocate -l 4G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile",
    )


def _swappiness(root: Root) -> Finding:
    value = root.number("/proc/sys/vm/swappiness")
    if value is not None and value > 60:
        meaning = "idle nodes are swapped out early, and slow to answer then"
        return Finding(
            "swappiness", "swappiness", Health.NOTE, str(value), meaning, "sysctl vm.swappiness=10"
        )
    return Finding("swappiness", "swappiness", Health.GOOD, "unknown" if value is None else str(value))


def _overcommit(root: Root) -> Finding:
    value = root.number("/proc/sys/vm/overcommit_memory")
    found, meaning = _OVERCOMMIT.get(-1 if value is None else value, ("unknown", ""))
    mend = "sysctl vm.overcommit_memory=0" if meaning else ""
    return Finding(
        "overcommit", "memory overcommit", Health.NOTE if meaning else Health.GOOD, found, meaning, mend
    )
