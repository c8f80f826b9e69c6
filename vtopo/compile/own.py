"""The interfaces that nodes make by themselves to resources: each after what it is made on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, cast

from vtopo.compile import resources as res
from vtopo.compile.resources.devices import BondMode, State
from vtopo.model.lab import Device, Interface, Lab
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Below:
    """What an interface is made on: its resource, its name in the kernel, and how the lab has it (a bridge: None)."""

    id: str
    device: str
    interface: Interface | Device | None


FindBelow: TypeAlias = Callable[[str, str], Below]


def own_devices(lab: Lab, below: FindBelow) -> Iterator[tuple[Device, Sequence[res.Resource]]]:
    """Each device's own resource, then those that make others a part of it.

    `below` is asked of what came before, or is made by a link, by its node and its name there.
    """
    vms = {vm.name for vm in lab.vms}
    kinds = {host.name: host.kind for host in lab.hosts}
    devices = [d for d in lab.devices if d.kind != "loopback" and d.node not in vms]
    for device in _in_order(devices):
        node = f"{device.node}/{kinds[device.node]}"
        parts = [below(device.node, name) for name in device.of]
        yield device, [_device(device, node, parts), *_attached(device, node, parts)]


def _in_order(devices: Sequence[Device]) -> Iterator[Device]:
    """Each after those that it is made on."""
    left = {device.full_name: device for device in devices}

    def take(device: Device) -> Iterator[Device]:
        if left.pop(device.full_name, None) is None:
            return
        for name in device.of:
            if (below := left.get(f"{device.node}:{name}")) is not None:
                yield from take(below)
        yield device

    for device in devices:
        yield from take(device)


def _device(device: Device, node: str, parts: Sequence[Below]) -> res.Resource:
    id_ = f"{device.full_name}/{device.kind}"
    state: State = "up" if device.up else "down"
    if device.kind == "vlan":
        (below,) = parts
        return res.Vlan(
            id=id_,
            needs=(node, below.id),
            # A VLAN goes with what it is of (vlan_device_event).
            within=(node, below.id),
            origin=device.range,
            netns=node,
            name=device.name,
            mac=device.mac,
            mtu=device.mtu,
            below=below.device,
            vid=device.number,
            state=state if below.interface is None or below.interface.up else "down",
        )
    if device.kind == "bond":
        return res.Bond(
            id=id_,
            needs=(node,),
            within=(node,),
            origin=device.range,
            netns=node,
            name=device.name,
            mac=device.mac,
            mtu=device.mtu,
            mode=cast(BondMode, "802.3ad" if device.mode == "lacp" else device.mode),
            miimon=device.miimon // 1000,
            state=state,
        )
    if device.kind == "vrf":
        return res.Vrf(
            id=id_,
            needs=(node,),
            within=(node,),
            origin=device.range,
            netns=node,
            name=device.name,
            table=device.number,
            state=state,
        )
    return res.Dummy(
        id=id_,
        needs=(node,),
        within=(node,),
        origin=device.range,
        netns=node,
        name=device.name,
        mac=device.mac,
        mtu=device.mtu,
        state=state,
    )


def _attached(device: Device, node: str, parts: Sequence[Below]) -> Iterator[res.Attached]:
    if device.kind not in {"bond", "vrf"}:
        return
    master = f"{device.full_name}/{device.kind}"
    for name, part in zip(device.of, parts, strict=True):
        yield res.Attached(
            id=f"{device.node}:{name}/attached",
            needs=(part.id, master),
            # Not within its master: to let go of it is more than to end (a bond leaves what it lets go of down).
            within=(part.id,),
            origin=device.range,
            netns=node,
            device=part.device,
            master=device.name,
            primary=name == device.primary,
        )
