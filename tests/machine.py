"""What the machine has, asked of the kernel, so that a test can show that it has just the same afterwards."""
# ruff: noqa: PTH115, PTH116, PTH208

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

OTHERS_RUN = "VTOPO_TESTS_BESIDE_OTHERS"
"""Set it where other labs come and go during the tests: then only what the tests' own labs leave is compared."""

LAB_PREFIX = f"t{os.getpid()}"
"""Every lab of the tests of this process is named so at its start."""

_LAB = re.compile(r"vtopo[.:]([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class Machine:
    """All that a lab could leave behind."""

    interfaces: frozenset[str]
    namespaces: frozenset[str]
    names: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    folders: frozenset[str]
    docker: frozenset[str]
    vms: frozenset[str]

    def difference(self, before: Machine) -> list[str]:
        """What there is more, and what less, than before."""
        found = []
        for f in fields(self):
            old, new = getattr(before, f.name), getattr(self, f.name)
            found += [f"{f.name}: + {x}" for x in sorted(new - old)] + [
                f"{f.name}: - {x}" for x in sorted(old - new)
            ]
        return found


def look() -> Machine:
    """The machine as it is now."""
    alone = OTHERS_RUN not in os.environ
    marked = dict(_marked_processes())
    netns = {os.readlink(f"/proc/{pid}/ns/net") for pid in marked if Path(f"/proc/{pid}/ns/net").exists()}
    return Machine(
        interfaces=frozenset(_interfaces()) if alone else frozenset(),
        namespaces=frozenset(_namespaces())
        if alone
        else frozenset(netns - {os.readlink("/proc/self/ns/net")}),
        names=frozenset(n for n in _listing("/run/netns") if alone or _own(n)),
        mounts=frozenset(m for m in _mounts() if alone or _own(m)),
        cgroups=frozenset(c for c in _cgroups() if alone or f"/{LAB_PREFIX}-" in c or f"-{LAB_PREFIX}-" in c),
        processes=frozenset(f"{pid} {text}" for pid, text in marked.items()),
        folders=frozenset(str(p) for p in (Path("/run/netns"), Path("/run/vtopo")) if alone and p.exists()),
        docker=frozenset(d for d in _docker() if alone or _own(d)),
        vms=frozenset(_vms(alone)),
    )


def settle(before: Machine, seconds: float = 30.0) -> list[str]:
    """What differs from before, after giving the kernel time for its own cleaning up."""
    end = time.monotonic() + seconds
    while (difference := look().difference(before)) and time.monotonic() < end:
        time.sleep(0.05)
    return difference


def remove_groups(left: list[str]) -> None:
    """Of what `settle` has found, the control groups: what one test left is not to fail those that come after it."""
    for found in sorted(left, reverse=True):  # what is inside first
        if found.startswith("cgroups: + ") and "vtopo" in found:
            with contextlib.suppress(OSError):
                Path(found.removeprefix("cgroups: + ")).rmdir()


def way_out() -> None:
    """Give the calling process's network namespace, a new one, ways out that lead nowhere."""
    lines = []
    for name, net in (("enp3s0", "192.0.2"), ("wlan0", "192.0.3")):
        lines += [
            f"link add {name} type veth peer name {name}.far",
            f"addr add {net}.2/24 dev {name}",
            f"link set {name} up",
            f"link set {name}.far up",
        ]
    lines += ["route add default via 192.0.2.1", "-6 addr add 2001:db8:1::2/64 dev enp3s0 nodad"]
    lines.append("-6 route add default via 2001:db8:1::1")
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)
    for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{key}").write_text("1")


def _docker() -> list[str]:
    """The containers, volumes and images of the engine that the tests use, if one does."""
    client = getattr(sys.modules.get("engine"), "in_use", None)
    if client is None:
        return []
    found = [f"container {c['Names']} {c['Id']}" for c in client.containers(all=True)]
    found += [f"volume {v['Name']}" for v in client.volumes()["Volumes"] or ()]
    for image in client.images(all=True):
        lab = (image["Labels"] or {}).get("vtopo.lab", "")
        found.append(f"image vtopo.{lab} {image['Id']} {image['RepoTags']}")
    return found


def _own(text: str) -> bool:
    found = _LAB.search(text)
    return bool(found and found[1].startswith(LAB_PREFIX))


def _interfaces() -> list[str]:
    return [f"{index} {name}" for index, name in socket.if_nameindex()]


def _pids() -> list[int]:
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def _namespaces() -> set[str]:
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    for name in _listing("/run/netns"):
        found.add(f"net:[{os.stat(f'/run/netns/{name}').st_ino}]")
    return found


def _listing(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    parsed = [line.partition(" - ") for line in lines]
    return [f"{left.split()[4]} {right}" for left, _, right in parsed]


def _vms(alone: bool) -> list[str]:
    """What libvirt knows of VMs of labs, their files, and the huge pages that labs have taken."""
    found = [f"QEMU {name}" for name in _listing("/run/libvirt/qemu") if alone or _own(name)]
    for folder in ("/var/lib/libvirt/vtopo", "/run/vtopo-hugepages"):
        names = _listing(folder)
        found += [f"{folder}/{name}" for name in names if alone or name.startswith(LAB_PREFIX)]
    return found


def _cgroups() -> list[str]:
    """Those that labs have, and the engines that they ask: what else runs on the machine has groups of its own.

    libvirt makes its `machine` with the first domain, for all that follow, and keeps it.
    """
    found = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    return [
        folder
        for folder in found
        if any(name in folder for name in ("vtopo", "docker", "machine")) and not folder.endswith("/machine")
    ]


def _marked_processes() -> list[tuple[int, str]]:
    """Processes with vtopo's mark, or started by this one, that have not ended.

    This is asked some thousand times of some hundred processes, so the file that tells most is read first, and plainly.
    """
    found = []
    alone, own = OTHERS_RUN not in os.environ, os.getpid()
    for pid in _pids():
        try:
            state, parent = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split(None, 2)[:2]
            if state in (b"Z", b"X"):
                continue
            labs = [
                e[10:].decode()
                for e in _read(f"/proc/{pid}/environ").split(b"\0")
                if e.startswith(b"VTOPO_LAB=")
            ]
            if int(parent) != own and not any(alone or lab.startswith(LAB_PREFIX) for lab in labs):
                continue
            command = _read(f"/proc/{pid}/cmdline").decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if command.split()[-1:] != ["libvirtd"]:  # the tests' own, which one of them starts anew
            found.append((pid, command))
    return found


def _read(path: str) -> bytes:
    """What a file of /proc has."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
