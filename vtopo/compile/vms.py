"""A VM to resources: its namespace with the plugs of its links, disks, seed, huge pages, domain, taps and power."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from vtopo.compile import resources as res
from vtopo.compile.domain_names import console_log, domain_name, domain_uuid
from vtopo.compile.domain_xml import PERIOD
from vtopo.compile.life import power_id
from vtopo.compile.resources import domains
from vtopo.compile.seeds import seed
from vtopo.digests import sha256
from vtopo.model.lab import File, Host, Interface, Lab, Life, Vm, VmNic
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Plug:
    """A VM's end of a link: its veth's resource id, the namespace and device that it is."""

    end: Interface
    veth: str
    netns: str
    device: str


def capacity(lab: Lab) -> Iterator[res.Resource]:
    """What all VMs see, if the lab sets a limit to that."""
    if lab.vms and lab.overcommit:
        yield res.Capacity(
            id="lab/capacity",
            vcpus=sum(vm.vcpus for vm in lab.vms),
            memory=sum(vm.memory for vm in lab.vms) // 1024,
            limit=lab.overcommit,
            origin=lab.vms[0].range,
        )


def vm_resources(
    lab: Lab,
    host: Host,
    vm: Vm,
    netns: str,
    plugs: Sequence[Plug],
    root: str | None,
    awaited: tuple[str, ...] = (),
    life: Life | None = None,
) -> Iterator[res.Resource]:
    """Each after those that it needs; the namespace and the veth pairs are there already.

    `root` is the absolute folder that the lab file's own path is relative to; without one, files are as written.
    The guest runs once what is `awaited` is over; `life` is what goes on in it.
    """
    made = list(_before(lab, host, vm, plugs, _Placed(root).path, life))
    yield from made
    domain = _domain(lab, vm, plugs, _Placed(root).path, (netns, *(r.id for r in made)))
    yield domain
    taps = [_tap(lab, plug, domain.id) for plug in plugs]
    yield from taps
    yield res.Power(
        id=power_id(vm.name),
        needs=(domain.id,),
        follows=(*(tap.id for tap in taps), *awaited),
        within=(domain.id,),
        origin=vm.range,
        name=domain.name,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where files are."""

    root: str | None

    def path(self, file: File) -> str:
        """Absolute if `root` is known."""
        if self.root is None:
            return file.path
        folder = posixpath.dirname(file.range.path)
        return posixpath.normpath(posixpath.join(self.root, folder, file.path))


def _before(
    lab: Lab,
    host: Host,
    vm: Vm,
    plugs: Sequence[Plug],
    path: Callable[[File], str],
    life: Life | None,
) -> Iterator[res.Resource]:
    """Disks, the seed and huge pages."""
    if vm.image is not None:
        yield res.Disk(
            id=f"{vm.name}/disk/root",
            origin=vm.image.range,
            file=f"{vm.name}.root.qcow2",
            base=path(vm.image),
            keep=vm.persist,
        )
    for disk in vm.disks:
        yield res.Disk(
            id=f"{vm.name}/disk/{disk.name}",
            origin=disk.image.range if disk.image is not None else vm.range,
            file=f"{vm.name}.{disk.name}.qcow2",
            base=path(disk.image) if disk.image is not None else None,
            size=disk.size or None,
            keep=vm.persist,
        )
    if vm.cloud_init is not None:
        yield seed(lab.name, host, vm, [plug.end for plug in plugs], life)
    if vm.hugepages:
        yield res.HugePages(
            id=f"{vm.name}/hugepages",
            origin=vm.range,
            count=-(-vm.memory // vm.hugepages),
            size=vm.hugepages // 1024,
            numa_node=vm.numa,
        )


def _domain(
    lab: Lab, vm: Vm, plugs: Sequence[Plug], path: Callable[[File], str], needs: tuple[str, ...]
) -> res.Domain:
    drives = tuple(_drives(vm))
    ide = any(drive.bus == "ide" for drive in drives)
    boot = None
    if vm.kernel is not None:
        initrd = path(vm.initrd) if vm.initrd is not None else ""
        boot = domains.Boot(kernel=path(vm.kernel), initrd=initrd, cmdline=vm.cmdline)
    sockets, cores, threads = vm.topology
    return res.Domain(
        id=domain_id(vm.name),
        needs=needs,
        origin=vm.range,
        node=vm.name,
        name=domain_name(lab.name, vm.name),
        uuid=domain_uuid(lab.name, vm.name),
        memory=domains.Memory(
            size=vm.memory // 1024,
            balloon=vm.balloon,
            pages=vm.hugepages // 1024 or None,
            numa_node=vm.numa,
        ),
        vcpus=domains.Vcpus(count=vm.vcpus, sockets=sockets, cores=cores, threads=threads),
        cpu=domains.Cpu(
            mode=cast(domains.CpuMode, vm.cpu.mode),
            model=vm.cpu.model,
            cache=cast(domains.Cache, vm.cpu.cache),
        ),
        tune=domains.Tune(
            shares=vm.cpu_weight or None,
            quota=vm.cpus * PERIOD // 1000 or None,
            cpuset=_ranges(vm.cpuset),
            pins=tuple(domains.Pin(vcpu=pin.vcpu, cpus=_ranges(pin.cpus)) for pin in vm.pins),
        ),
        accel=cast(domains.Accel, vm.accel),
        machine=vm.machine_type or ("pc" if ide else "q35"),
        firmware="uefi" if vm.firmware == "uefi" else "bios",
        boot=boot,
        drives=drives,
        nics=tuple(_nic(lab, vm, nic, plugs) for nic in vm.nics),
        hyperv=vm.hyperv,
        graphics="vnc" if vm.graphics == "vnc" else "none",
        console=console_log(vm.name),
        ssh=_login(vm, plugs, path),
    )


def _login(vm: Vm, plugs: Sequence[Plug], path: Callable[[File], str]) -> domains.Login:
    if vm.ssh is None:
        return domains.Login()
    addresses = tuple(str(address.ip) for plug in plugs for address in plug.end.addresses)
    return domains.Login(user=vm.ssh.user, key=path(vm.ssh.key), port=vm.ssh.port, addresses=addresses)


def _drives(vm: Vm) -> Iterator[domains.Drive]:
    if vm.image is not None:
        yield domains.Drive(name="root", file=f"{vm.name}.root.qcow2")
    for disk in vm.disks:
        yield domains.Drive(
            name=disk.name,
            file=f"{vm.name}.{disk.name}.qcow2",
            bus=cast(domains.Bus, disk.bus),
            cache=disk.cache,
        )
    if vm.cloud_init is not None:
        yield domains.Drive(name="seed", file=f"{vm.name}.seed.iso", seed=True)


def _nic(lab: Lab, vm: Vm, nic: VmNic, plugs: Sequence[Plug]) -> domains.Nic:
    plug = next((plug for plug in plugs if plug.end.name == nic.name), None)
    return domains.Nic(
        name=nic.name,
        mac=plug.end.mac if plug is not None else nic.mac,
        tap=tap_name(lab.name, plug.end.full_name) if plug is not None else "",
        mtu=plug.end.mtu if plug is not None else 1500,
        model=nic.model,
        queues=nic.queues,
        vhost=nic.vhost,
        passthrough=nic.passthrough,
        vf_of=nic.vf_of,
    )


def _tap(lab: Lab, plug: Plug, domain: str) -> res.Tap:
    return res.Tap(
        id=tap_id(plug),
        needs=(domain, plug.netns, plug.veth),
        within=(domain, plug.netns),
        origin=plug.end.range,
        netns=plug.netns,
        name=tap_name(lab.name, plug.end.full_name),
        plug=plug.device,
        mtu=plug.end.mtu,
    )


def domain_id(node: str) -> str:
    """The id of a VM's domain."""
    return f"{node}/domain"


def tap_id(plug: Plug) -> str:
    """The id of the tap that is joined with a plug."""
    return f"{plug.end.full_name}/tap"


def tap_name(lab: str, end: str) -> str:
    """A name for a tap that no other has: it stands in the machine's own namespace for a moment."""
    return "vt" + sha256(f"{lab}\0{end}".encode()).hexdigest()[:12]


def _ranges(numbers: Sequence[int]) -> str:
    """`0-1,4` (cpuset(7), List Format)."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
