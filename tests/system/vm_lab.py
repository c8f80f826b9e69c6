"""Small labs with VMs, made straight through the backends, for the tests of the backends."""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from guest import small
from lab import FABRIC, Lab, address, end, veth

from vtopo.backends.base import Backend, Done
from vtopo.backends.disks import DiskBackend
from vtopo.backends.domains import DomainBackend
from vtopo.backends.hugepages import HugePagesBackend
from vtopo.backends.hypervisor import Hypervisor
from vtopo.compile.domain_names import domain_name, domain_uuid
from vtopo.compile.resources import Disk, Domain, HugePages, Netns, Power, Resource, Seed, Tap
from vtopo.compile.resources.domains import Boot, Memory, Nic

MEMORY = 96 * 1024
"""KiB that the small guest needs, with some to spare."""


@contextlib.contextmanager
def on_console(domain: Any) -> Iterator[int]:
    """The other end of a guest's serial console."""
    pty = ElementTree.fromstring(domain.XMLDesc()).find("devices/console/source").get("path")
    console = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(console)
        yield console
    finally:
        os.close(console)


class VmLab(Lab):
    """A lab with the backends of VMs as well."""

    def __init__(self, name: str, run_dir: Path) -> None:
        super().__init__(name, run_dir)
        self.hypervisor = Hypervisor("qemu:///system")
        self.disks = DiskBackend(name, self.hypervisor)
        self.domains = DomainBackend(name, self.hypervisor)
        self.pages = HugePagesBackend(name)
        self.recorded: list[Resource] = []

    def backend(self, r: Resource) -> Backend:
        for backend in (self.disks, self.domains, self.pages):
            if r.kind in backend.kinds:
                return backend
        return super().backend(r)

    def make(self, *batch: Resource) -> list[Any]:
        outcomes = super().make(*batch)
        done = {o.id for o in outcomes if isinstance(o, Done)}
        self.recorded += [r for r in batch if r.id in done]
        return outcomes

    def delete(self, *batch: Resource) -> None:
        outcomes = list(self.backend(batch[0]).delete(batch, self.handles))
        assert [o for o in outcomes if not isinstance(o, Done)] == []

    def domain(self, node: str, **more: Any) -> Domain:
        """The small guest, with whatever else is wanted of it."""
        built = small.folder()
        words = f"console=ttyS0 quiet no_timer_check name={node} {more.pop('words', '')}".strip()
        given: dict[str, Any] = {
            "id": f"{node}/domain",
            "node": node,
            "name": domain_name(self.name, node),
            "uuid": domain_uuid(self.name, node),
            "memory": Memory(size=MEMORY),
            "boot": Boot(kernel=str(built / "vmlinuz"), initrd=str(built / "initrd"), cmdline=words),
            "console": f"{node}.console.log",
        }
        return Domain(**{**given, **more})

    def start(self, *domains: Domain) -> None:
        """Made, and let run."""
        self.must(*domains)
        self.must(*(Power(id=f"{d.node}/power", name=d.name) for d in domains))

    def plugged(self, node: str, number: int, mtu: int = 1500, **more: Any) -> tuple[Nic, Tap]:
        """A namespace for the VM with a plug, joined by a veth pair to a new host `pc-NODE`; its NIC and tap."""
        if not self.base:
            self.hosts()
        pc = self.host(f"pc-{node}")
        self.must(pc)
        self.must(Netns(id=f"{node}/netns", name=f"vtopo.{self.name}.{node}"))
        self.must(
            veth(end(pc.id, "eth0", 16 + number, mtu=mtu), end(f"{node}/netns", "eth0", 32 + number, mtu=mtu))
        )
        self.must(address(pc.id, "eth0", f"10.0.{number}.1/24"))
        name = f"vt{abs(hash((self.name, node))) % 10**9:09d}"
        nic = Nic(name="eth0", mac=f"02:00:00:00:01:{number:02x}", tap=name, mtu=mtu, **more)
        tap = Tap(id=f"{node}:eth0/tap", netns=f"{node}/netns", name=name, plug="eth0", mtu=mtu)
        return nic, tap

    def console(self, node: str, text: str = "is up", seconds: float = 60.0) -> str:
        """The console's log once `text` is in it."""
        log = self.domains.folder.file(f"{node}.console.log")
        deadline = time.monotonic() + seconds
        while True:
            said = log.read_text(errors="replace") if log.exists() else ""
            if text in said:
                return said
            assert time.monotonic() < deadline, f"no {text!r} on the console of {node}: {said[-2000:]}"
            time.sleep(0.05)

    def say(self, node: str, command: str, seconds: float = 20.0) -> str:
        """What a command prints on the guest's console."""
        domain = self.hypervisor.connection().lookupByName(domain_name(self.name, node))
        heard = b""
        with on_console(domain) as console:
            os.write(console, f"\necho begin-$((40+1)); {command}; echo done-$((40+2))\n".encode())
            deadline = time.monotonic() + seconds
            while b"done-42" not in heard:
                if select.select([console], [], [], 0.2)[0]:
                    heard += os.read(console, 4096)
                assert time.monotonic() < deadline, heard
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", heard.decode(errors="replace")).replace("\r", "")
        return text.partition("begin-41\n")[2].rpartition("done-42")[0]

    def close(self) -> None:
        try:
            self.domains.sweep()
            self.disks.sweep()
            self.pages.sweep()
            self.hypervisor.close()
        finally:
            super().close()


def vm_lab_of(name: str, run_dir: Path) -> Iterator[VmLab]:
    lab = VmLab(name, run_dir)
    try:
        yield lab
    finally:
        lab.close()


__all__ = ["FABRIC", "Disk", "HugePages", "Seed", "VmLab", "vm_lab_of"]
