"""Small labs made straight through the backends, for the tests of the backends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vtopo.backends.base import Backend, Done, Failed, Handle, Outcome
from vtopo.backends.cgroups import CgroupBackend
from vtopo.backends.files import FileBackend
from vtopo.backends.life import LifeBackend
from vtopo.backends.namespaces import NamespaceBackend
from vtopo.backends.netlink import NetlinkBackend
from vtopo.backends.zygotes import Zygotes
from vtopo.compile.resources import Address, Host, Netns, Resource, Scratch, Veth, VethEnd

FABRIC = "fabric/netns"


class Lab:
    """A lab's backends and the handles of what they made."""

    def __init__(self, name: str, run_dir: Path) -> None:
        self.name = name
        self.zygotes = Zygotes(name)
        self.namespaces = NamespaceBackend(name, run_dir, self.zygotes)
        self.netlink = NetlinkBackend(name)
        self.cgroups = CgroupBackend(name)
        self.files = FileBackend(name, run_dir)
        self.life = LifeBackend(name, run_dir)
        self.handles: dict[str, Handle] = {}
        self.base: list[Resource] = []

    def backend(self, r: Resource) -> Backend:
        backends: Sequence[Backend] = (self.namespaces, self.cgroups, self.netlink, self.files, self.life)
        return next(backend for backend in backends if r.kind in backend.kinds)

    def make(self, *batch: Resource) -> list[Outcome]:
        outcomes = list(self.backend(batch[0]).create(batch, self.handles))
        assert sorted(o.id for o in outcomes) == sorted(r.id for r in batch)
        self.handles.update({o.id: o.handle for o in outcomes if isinstance(o, Done)})
        return outcomes

    def must(self, *batch: Resource) -> None:
        assert [o for o in self.make(*batch) if isinstance(o, Failed)] == []

    def must_update(self, old: Resource, new: Resource) -> None:
        found = list(self.backend(new).update([(old, new)], self.handles))
        assert found == [Done(new.id)], found

    def hosts(self, *nodes: str) -> list[Host]:
        """Scratch, fabric and hosts."""
        self.base = [Scratch(id="scratch"), Netns(id=FABRIC, name=f"vtopo.{self.name}")]
        for r in self.base:
            self.must(r)
        hosts = [self.host(node) for node in nodes]
        if hosts:
            self.must(*hosts)
        return hosts

    def host(self, node: str) -> Host:
        return Host(id=node, node=node, name=f"vtopo.{self.name}.{node}", hostname=node.replace(".", "-"))

    def ip(self, node: str, *args: str) -> Any:
        """What `ip` says in the namespace of a node, or of the fabric if it is empty."""
        name = f"vtopo.{self.name}.{node}" if node else f"vtopo.{self.name}"
        return ip("-n", name, *args)

    def run(self, node: str, *argv: str) -> str:
        """The output of a command in all namespaces of a host, by nsenter(1)."""
        pid = self.handles[node].pid
        command = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def close(self) -> None:
        self.netlink.close()
        self.zygotes.close()
        self.namespaces.sweep()
        self.life.sweep()
        self.cgroups.sweep()
        self.cgroups.close()


def ip(*args: str) -> Any:
    out = subprocess.run(["ip", "-j", "-d", *args], capture_output=True, text=True, check=True).stdout
    return json.loads(out) if out.strip() else []


def end(netns: str, name: str, number: int, *, mtu: int = 1500, master: str | None = None) -> VethEnd:
    return VethEnd(netns=netns, name=name, mac=f"02:00:00:00:00:{number:02x}", mtu=mtu, master=master)


def veth(left: VethEnd, right: VethEnd) -> Veth:
    return Veth(id=f"{left.netns}:{left.name}--{right.netns}:{right.name}/veth", left=left, right=right)


def address(netns: str, device: str, text: str) -> Address:
    return Address(id=f"{netns}:{device}:{text}/address", netns=netns, device=device, address=text)


def named(links: Sequence[Any]) -> dict[str, Any]:
    return {link["ifname"]: link for link in links}


def lab_of(name: str, run_dir: Path) -> Iterator[Lab]:
    lab = Lab(name, run_dir)
    try:
        yield lab
    finally:
        lab.close()
