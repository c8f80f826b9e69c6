"""What a lab says of a virtual machine, with every default filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.suggest import did_you_mean
from vtopo.model.draft import Draft, NodeDraft, mac_of
from vtopo.model.lab import CloudInit, File, Ssh, Vm, VmCpu, VmDisk, VmNic, VmPin
from vtopo.model.lab.vms import PCI_ADDRESS
from vtopo.model.properties import Setting, Settings
from vtopo.model.values import Read
from vtopo.model.vm_checks import check

DEFAULT_MEMORY = 512 << 20
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_MODES = ("host-passthrough", "host-model")


def vm_of(node: NodeDraft, draft: Draft, seed: CloudInit | None, diagnostics: Diagnostics) -> Vm:
    """The VM that a node of that kind is; `seed` is what its cloud-init is told."""
    settings, late = node.settings, node.late
    diagnostics.via = node.via
    check(node, diagnostics)
    vcpus, memory = settings.one("vcpus", int), settings.one("memory", int)
    inner = vcpus.block if vcpus is not None and vcpus.block is not None else Settings()
    held = memory.block if memory is not None and memory.block is not None else Settings()
    topology = inner.one("topology", int)
    sockets = (
        tuple(_int(topology, part) for part in ("sockets", "cores", "threads")) if topology else (0, 0, 0)
    )
    count = vcpus.value if vcpus is not None else 1
    if topology is not None and sockets[0] * sockets[1] * sockets[2] != count:
        product = sockets[0] * sockets[1] * sockets[2]
        diagnostics.add(
            "E0206",
            f"this topology has {product} vCPUs, and `vcpus` {count}",
            topology.range,
            "their product",
        )
    return Vm(
        name=node.name,
        image=_file(settings, "image"),
        disks=tuple(_disk(one) for one in settings.many("disk")),
        kernel=_file(settings, "kernel"),
        initrd=_file(settings, "initrd"),
        cmdline=late.value("cmdline", str) or "",
        vcpus=count,
        topology=sockets,
        pins=tuple(_pins(inner, count, diagnostics)),
        cpu=_cpu(settings),
        memory=memory.value if memory is not None else DEFAULT_MEMORY,
        hugepages=held.value("hugepages", int) or 0,
        numa=held.value("numa", int),
        nics=tuple(_nics(node, draft, diagnostics)),
        accel=settings.value("accel", str) or "auto",
        machine_type=settings.value("machine-type", str) or "",
        firmware=settings.value("firmware", str) or "bios",
        hyperv=settings.value("hyperv", bool) or False,
        graphics=settings.value("graphics", str) or "none",
        balloon=settings.value("balloon", bool) is not False,
        persist=settings.value("persist", bool) or False,
        cloud_init=seed,
        cpus=settings.value("cpus", int) or 0,
        cpu_weight=settings.value("cpu-weight", int) or 0,
        cpuset=settings.value("cpuset", tuple) or (),
        ssh=_ssh(node, diagnostics),
        range=node.range,
    )


def _int(setting: Setting[int], slot: str) -> int:
    return setting.slot(slot, int) or 0


def _file(settings: Settings, name: str) -> File | None:
    setting = settings.one(name, str)
    return File(setting.value, setting.range) if setting is not None else None


def _disk(setting: Setting[Read]) -> VmDisk:
    block = setting.block or Settings()
    return VmDisk(
        name=str(setting.value),
        size=block.value("size", int) or 0,
        image=_file(block, "image"),
        bus=block.value("bus", str) or "virtio",
        cache=block.value("cache", str) or "none",
    )


def _pins(inner: Settings, count: int, diagnostics: Diagnostics) -> Iterator[VmPin]:
    for setting in inner.many("pin"):
        vcpu, cpus = setting.slot("vcpu", int) or 0, setting.slot("cpus", tuple) or ()
        if vcpu >= count:
            has = f"it has {'0' if count == 1 else f'0 to {count - 1}'}"
            diagnostics.add("E0206", f"there is no vCPU {vcpu}", setting.range, has)
        yield VmPin(vcpu, cpus)


def _cpu(settings: Settings) -> VmCpu:
    setting = settings.one("cpu", str)
    if setting is None:
        return VmCpu("host-passthrough")
    cache = setting.block.value("cache", str) if setting.block is not None else None
    mode = setting.value if setting.value in _MODES else "named"
    return VmCpu(mode, "" if mode in _MODES else setting.value, cache or "")


def _nics(node: NodeDraft, draft: Draft, diagnostics: Diagnostics) -> Iterator[VmNic]:
    """One for each end of a link, in the order of their names' numbering, then the devices passed through."""
    said = {str(setting.value): setting for setting in node.settings.many("nic")}
    plugged = [end for end in node.ends if end.peer is not None]
    for end in plugged:
        setting = said.pop(end.name, None)
        nic = _nic(end.name, end.mac(draft.name), setting)
        if setting is not None and (nic.passthrough or nic.vf_of):
            diagnostics.add(
                "E0305",
                f"`{end.full_name}` is an end of a link, and a device of the machine's",
                setting.range,
                "a device that is passed through has links of its own, outside the lab",
            )
        yield nic
    for name, setting in said.items():
        nic = _nic(name, mac_of(draft.name, f"{node.name}:{name}"), setting)
        if not (nic.passthrough or nic.vf_of):
            diagnostics.add(
                "E0303",
                f"`{node.name}` has no interface `{name}`",
                setting.range,
                help=did_you_mean(
                    name, [end.name for end in plugged], f"`link {node.name}:{name} -- …` makes one"
                ),
            )
        if nic.passthrough and not PCI_ADDRESS.fullmatch(nic.passthrough):
            diagnostics.add(
                "E0206",
                f"{nic.passthrough!r} is no PCI address",
                setting.range,
                "such as 0000:03:10.1",
                help="`lspci -D` lists the machine's",
            )
        yield nic


def _nic(name: str, mac: str, setting: Setting[Read] | None) -> VmNic:
    block = setting.block if setting is not None and setting.block is not None else Settings()
    vf = block.one("vf-of", str)
    return VmNic(
        name=name,
        mac=mac,
        model=block.value("model", str) or "virtio",
        queues=block.value("queues", int) or 1,
        vhost=block.value("vhost", bool),
        passthrough=block.value("passthrough", str) or "",
        vf_of=vf.value if vf is not None else "",
    )


def _ssh(node: NodeDraft, diagnostics: Diagnostics) -> Ssh | None:
    setting = node.settings.one("ssh", str)
    if setting is None:
        return None
    if not any(end.addresses for end in node.ends if end.peer is not None):
        diagnostics.add(
            "E0206",
            f"`{node.name}` has no address",
            setting.range,
            "where is it logged in?",
            help="one logs in at an address of its links; or leave that to its guest agent",
        )
    user, key = str(setting.slots["user"]), str(setting.slots["key"])
    if not _USER.fullmatch(user):
        diagnostics.add("E0206", f"{user!r} is no user's name", setting.range, "such as root")
    if not key or not key.isprintable() or "${" in key:
        # ssh(1) takes the latter for a variable of its environment, wherever a key is named.
        diagnostics.add(
            "E0206", f"ssh takes no key of the name {key!r}", setting.range, 'such as "id_ed25519"'
        )
    return Ssh(user, File(key, setting.range), setting.slot("port", int) or 22)
