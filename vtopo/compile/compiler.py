"""Lab to resources: everything that must exist, with ids that stay the same from run to run."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from vtopo.compile import resources as res
from vtopo.compile.cables import Cable, cables
from vtopo.compile.cgroups import cgroups
from vtopo.compile.containers import containers
from vtopo.compile.devices import DeviceNames
from vtopo.compile.life import LifeCompiler, environment, host_names
from vtopo.compile.overlays import OverlayCompiler, Spot
from vtopo.compile.own import Below, own_devices
from vtopo.compile.switching import bridge_options, bridge_port
from vtopo.compile.traffic import impairment
from vtopo.compile.uplinks import namespace, netns_id, shared_end, way_out
from vtopo.lang.source import Range
from vtopo.model.draft import mac_of
from vtopo.model.lab import (
    Bridge,
    Device,
    Host,
    Impairment,
    Interface,
    Isolation,
    Lab,
    Link,
    Overlay,
    Setting,
    Vtep,
)
from vtopo.values import dataclass

MAIN_TABLE = 254
"""The table of routes that are in no VRF (RT_TABLE_MAIN)."""
SCRATCH = "lab/scratch"
FABRIC = "fabric/netns"


def compile_lab(lab: Lab, root: str | None = None) -> tuple[res.Resource, ...]:
    """The lab's resources, each after those that it needs.

    `root` is the absolute folder that the lab file's path is relative to; without one, the files of the machine that
    the lab names are as written.
    """
    return tuple(_Compiler(lab, root).with_life())


def netns_name(lab: str, node: str | None = None) -> str:
    """The name of a namespace where `ip netns` finds it: the lab's fabric, or a node's.

    Neither a lab's name nor a part of a node's has a dot, so no two are alike.
    """
    return f"vtopo.{lab}.{node}" if node is not None else f"vtopo.{lab}"


@dataclass(frozen=True, slots=True)
class _Port:
    """Where an interface is in the kernel: its namespace's resource id, and its device's name there."""

    netns: str
    device: str


class _Compiler:
    def __init__(self, lab: Lab, root: str | None) -> None:
        self._lab = lab
        self._root = root
        self._vms = {vm.name: vm for vm in lab.vms}
        self._bridges = {b.name: b for b in lab.bridges}
        self._cables = cables(lab)
        self._kinds = {h.name: h.kind for h in lab.hosts} | {b.name: b.kind for b in lab.bridges}
        self._uplinks = {uplink.name: uplink for uplink in lab.uplinks}
        self._devices = DeviceNames(lab)
        self._interfaces = {e.full_name: e for link in lab.links for e in (link.left, link.right)}
        self._lives = {life.node: life for life in lab.lives}
        self._life = LifeCompiler(lab, SCRATCH, root)
        self._own = {device.full_name: device for device in lab.devices}
        self._veths: dict[str, str] = {}
        """Of each interface, the resource that it is, or is an end of."""
        self._attached: dict[str, str] = {}
        """Of each interface that is part of a bond or VRF, the resource that makes it so."""
        self._veths_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._ports: dict[str, _Port] = {}

    def resources(self) -> Iterator[res.Resource]:
        lab = self._lab
        # What all nodes share is asked for where the first of them is.
        places = [*(host.range for host in lab.hosts), *(bridge.range for bridge in lab.bridges)]
        yield res.Scratch(
            id=SCRATCH,
            names=host_names(lab),
            resolvers="the machine's" if lab.uplinks else "none",
            origin=places[0] if places else None,
        )
        for one in lab.unrealized:
            id_ = f"{one.owner}/unrealized/{one.what}"
            yield res.Unrealized(id=id_, origin=one.range, owner=one.owner, what=one.what)
        in_fabric = (b for b in lab.bridges if b.parent is None and b.kind == "bridge")
        if switches := [b for b in in_fabric if self._cable(b.name) is None]:
            yield res.Netns(id=FABRIC, origin=switches[0].range, name=netns_name(lab.name))
        for host in lab.hosts:
            if host.kind == "host":
                yield from self._host(host)
            elif host.kind == "vm":
                yield self._vm_netns(host)
        yield from containers(lab, netns_name, self._life.awaited, self._root)
        for bridge in lab.bridges:
            if bridge.kind == "uplink":
                yield from self._uplink(bridge)
            elif self._cable(bridge.name) is None:
                yield self._bridge(bridge)
        for link in lab.links:
            cable = self._cable(link.left.node) or self._cable(link.right.node)
            if cable is None:
                yield self._shared_end(link) or self._veth(link)
            elif link is cable.left.link:
                yield self._cable_veth(cable)
            yield from self._static_macs(link)
        for device, resources in own_devices(lab, self._below):
            yield from resources
            self._veths[device.full_name] = resources[0].id
            self._ports[device.full_name] = _Port(self._node_id(device.node), device.name)
            self._veths_of[device.node][resources[0].id] = None
            self._attached.update({r.id.removesuffix("/attached"): r.id for r in resources[1:]})
        if lab.vms:
            yield from self._machines()
        for overlay in lab.overlays:
            spots = [self._spot(overlay, vtep) for vtep in overlay.vteps]
            yield from OverlayCompiler(lab).resources(overlay, spots)
        for link in lab.links:
            for end in (link.left, link.right):
                if end.addresses and end.node not in self._vms:  # a guest's addresses are its own affair
                    yield from self._addresses(end)
        for device in lab.devices:
            if device.kind == "loopback":
                yield from self._loopback_addresses(device)
            elif device.node not in self._vms:
                yield from self._addresses(device)
        for bridge in lab.bridges:
            yield from self._bridge_addresses(bridge)
        for host in lab.hosts:
            if host.name not in self._vms:
                yield from self._sysctls(host)
                yield from self._routes(host)
                yield from self._nat(host)

    def with_life(self) -> Iterator[res.Resource]:
        """All resources, and then what goes on in nodes once they have what is theirs."""
        made = list(self.resources())
        yield from made
        yield from self._life.resources(made)

    # Nodes

    def _host(self, host: Host) -> Iterator[res.Resource]:
        """A host, and its control group, which comes first: a cgroup namespace begins where its first process is."""
        group, *rest = *cgroups(host, _host_id(host.name)), None
        if group is not None:
            yield group
        own = host.isolation or Isolation()
        root = own.rootfs and posixpath.normpath(posixpath.join(self._root or "", own.rootfs))
        yield res.Host(
            id=_host_id(host.name),
            needs=(SCRATCH,),
            follows=(group.id,) if group is not None else (),
            within=(),
            origin=host.range,
            node=host.name,
            name=netns_name(self._lab.name, host.name),
            hostname=host.name,
            namespaces=own.namespaces,
            uids=own.uids,
            gids=own.gids,
            rootfs=root,
            env=environment(self._lives.get(host.name)),
        )
        yield from filter(None, rest)

    def _vm_netns(self, host: Host) -> res.Netns:
        """Where the plugs of a VM's links are, each with its NIC's name."""
        name = netns_name(self._lab.name, host.name)
        return res.Netns(id=self._node_id(host.name), origin=host.range, name=name)

    def _machines(self) -> Iterator[res.Resource]:
        from vtopo.compile.guests import guest_ready
        from vtopo.compile.vms import Plug, capacity, vm_resources

        yield from capacity(self._lab)
        ends = [end for link in self._lab.links for end in (link.left, link.right)]
        for host in self._lab.hosts:
            if (vm := self._vms.get(host.name)) is None:
                continue
            plugs = [
                Plug(end, self._veths[end.full_name], self._ports[end.full_name].netns, end.name)
                for end in ends
                if end.node == host.name
            ]
            netns, awaited = self._node_id(host.name), self._life.awaited(host.name)
            life = self._lives.get(host.name)
            yield from vm_resources(self._lab, host, vm, netns, plugs, self._root, awaited, life)
            if life is not None:
                yield from guest_ready(self._lab, life, plugs)

    def _netns_of(self, node: str) -> str:
        """The resource id of the namespace that a node's interfaces are in."""
        bridge = self._bridges.get(node)
        if bridge is None:
            return self._node_id(node)
        if bridge.kind == "uplink":
            return netns_id(node)
        return self._node_id(bridge.parent) if bridge.parent is not None else FABRIC

    def _node_id(self, node: str) -> str:
        """The id of the resource that a node is: of an uplink, its switch."""
        return _bridge_id(node) if node in self._uplinks else f"{node}/{self._kinds[node]}"

    def _cable(self, node: str) -> Cable | None:
        """What a bridge is that is nothing but a cable; None of any other node."""
        found = self._cables.get(node)
        return found if isinstance(found, Cable) else None

    def _bridge(self, bridge: Bridge) -> res.Bridge:
        netns = self._netns_of(bridge.name)
        why = self._cables.get(bridge.name)
        return res.Bridge(
            id=_bridge_id(bridge.name),
            needs=(netns,),
            within=(netns,),
            origin=bridge.range,
            netns=netns,
            name=self._devices.bridge(bridge.name),
            mac=mac_of(self._lab.name, bridge.name),
            mtu=bridge.mtu,
            why=why if isinstance(why, str) else "",
            **bridge_options(bridge),
        )

    def _uplink(self, switch: Bridge) -> Iterator[res.Resource]:
        uplink = self._uplinks[switch.name]
        if uplink.mode == "macvlan":
            return  # there is nothing between the ends of its links and the machine's interface
        yield namespace(self._lab, switch, netns_name)
        bridge = self._bridge(switch)
        yield bridge
        yield from way_out(self._lab, uplink, switch, bridge, netns_name)

    # Links

    def _shared_end(self, link: Link) -> res.Macvlan | None:
        """What a link to an uplink is that shares an interface of the machine."""
        for end, other in ((link.left, link.right), (link.right, link.left)):
            uplink = self._uplinks.get(other.node)
            if uplink is not None and uplink.mode == "macvlan":
                made = shared_end(link, uplink, end, self._netns_of(end.node))
                self._veths[end.full_name] = made.id
                self._ports[end.full_name] = _Port(made.netns, made.name)
                return made
        return None

    def _cable_veth(self, cable: Cable) -> res.Veth:
        """The one pair that a LAN is: its ends are those of its two links, with all that they have."""
        left, right = cable.left, cable.right
        link = Link(left.end, right.end, Impairment(), Impairment(), cable.lan.range)
        return replace(self._veth(link), lan=(left.port.full_name, right.port.full_name))

    def _veth(self, link: Link) -> res.Veth:
        names = link.left.full_name, link.right.full_name
        id_ = f"{names[0]}--{names[1]}/veth"
        within: list[str] = []
        ends: list[res.VethEnd] = []
        for name, end, way in zip(names, (link.left, link.right), (link.forth, link.back), strict=True):
            netns = self._netns_of(end.node)
            device = self._devices.interface(end)
            self._veths[name] = id_
            self._veths_of[end.node][id_] = None
            self._ports[name] = _Port(netns, device)
            within.append(netns)
            master = None
            if end.node in self._bridges:
                master = self._devices.bridge(end.node)
            ends.append(
                res.VethEnd(
                    netns=netns,
                    name=device,
                    mac=end.mac,
                    mtu=end.mtu,
                    master=master,
                    state="up" if end.up else "down",
                    impairment=impairment(way, end.mtu),
                    bridge_port=bridge_port(end.port),
                )
            )
        bridges = [self._node_id(e.node) for e in (link.left, link.right) if e.node in self._bridges]
        unique = tuple(dict.fromkeys(within))
        return res.Veth(
            id=id_,
            needs=(*unique, *dict.fromkeys(bridges)),
            within=unique,
            origin=link.range,
            left=ends[0],
            right=ends[1],
        )

    def _static_macs(self, link: Link) -> Iterator[res.StaticMac]:
        for end in (link.left, link.right):
            for static in end.port.static_macs if end.port is not None else ():
                veth, port = self._veths[end.full_name], self._ports[end.full_name]
                vlan = f".{static.vlan}" if static.vlan else ""
                yield res.StaticMac(
                    id=f"{end.full_name}/static-mac/{static.mac}{vlan}",
                    needs=(veth,),
                    within=(veth,),
                    origin=end.range,
                    netns=port.netns,
                    device=port.device,
                    mac=static.mac,
                    vlan=static.vlan,
                )

    def _below(self, node: str, name: str) -> Below:
        """What an interface of a node's own may be made on: another one, or a bridge behind the node."""
        full = f"{node}:{name}"
        if full in self._veths:
            return Below(
                self._veths[full], self._ports[full].device, self._interfaces.get(full, self._own.get(full))
            )
        bridge = f"{node}.{name}"
        return Below(self._node_id(bridge), self._devices.bridge(bridge), None)

    def _addresses(self, end: Interface | Device) -> Iterator[res.Address]:
        name = end.full_name
        veth, port, attached = self._veths[name], self._ports[name], self._attached.get(name)
        for address in map(str, end.addresses):
            made = _address(f"{name}/address/{address}", veth, port, address, end.range)
            # To be taken into a VRF, or out of one, takes an interface down for a moment, and its IPv6 addresses.
            yield made if attached is None else replace(made, needs=(*made.needs, attached))

    def _loopback_addresses(self, device: Device) -> Iterator[res.Address]:
        netns = self._node_id(device.node)
        for address in device.addresses:
            id_ = f"{device.full_name}/address/{address}"
            yield _address(id_, netns, _Port(netns, device.name), str(address), device.range)

    def _bridge_addresses(self, bridge: Bridge) -> Iterator[res.Address]:
        port = _Port(self._netns_of(bridge.name), self._devices.bridge(bridge.name))
        for address in bridge.addresses:
            id_ = f"{bridge.name}/address/{address}"
            yield _address(id_, self._node_id(bridge.name), port, str(address), bridge.range)

    # Overlays

    def _spot(self, overlay: Overlay, vtep: Vtep) -> Spot:
        if vtep.host is None:
            return Spot(
                netns=self._netns_of(vtep.bridge),
                bridge=_bridge_id(vtep.bridge),
                master=self._devices.bridge(vtep.bridge),
                device=self._devices.vxlan(self._bridges[vtep.bridge].parent, overlay.vni, "machine"),
                below=vtep.interface,
                below_id=None,
            )
        underlay = f"{vtep.host}:{vtep.interface}"
        veth = self._veths.get(underlay)
        return Spot(
            netns=_host_id(vtep.host),
            bridge=_bridge_id(vtep.bridge),
            master=self._devices.bridge(vtep.bridge),
            device=self._devices.vxlan(vtep.host, overlay.vni, vtep.host),
            # What sends from a loopback's address leaves by whichever interface the routes say.
            below=self._ports[underlay].device if veth is not None else "",
            below_id=veth,
        )

    # What a host is told

    def _sysctls(self, host: Host) -> Iterator[res.Sysctl]:
        """Those that the lab sets, and of what is said in other words those that it does not."""
        settings = {s.key.replace("/", "."): (s.value, s.range) for s in self._settings_of(host.name)}
        if host.forward:
            for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                settings.setdefault(key, ("1", host.range))
        netns = self._node_id(host.name)
        if not settings:
            return
        veths = tuple(self._veths_of[host.name])
        for key, (value, place) in settings.items():
            of = self._interface_of(host.name, key)
            yield res.Sysctl(
                id=f"{host.name}/sysctl/{key}",
                needs=(netns, *of),
                follows=veths if not of and (".conf." in key or ".neigh." in key) else (),
                within=(netns, *of),
                origin=place,
                netns=netns,
                key=key,
                value=value,
            )

    def _interface_of(self, node: str, key: str) -> tuple[str, ...]:
        """The resource whose setting this is, and with which it goes: an interface of the node; nothing if it is the
        node's."""
        words = key.split(".")  # net.ipv4.conf.eth0.rp_filter
        if len(words) < 5 or words[2] not in ("conf", "neigh"):
            return ()
        id_ = self._veths.get(f"{node}:{'.'.join(words[3:-1])}")
        return (id_,) if id_ is not None else ()

    def _nat(self, host: Host) -> Iterator[res.Nat]:
        if host.masquerade:
            netns = self._node_id(host.name)
            yield res.Nat(
                id=f"{host.name}/nat",
                needs=(netns,),
                within=(netns,),
                origin=host.range,
                netns=netns,
                masquerade=host.masquerade,
            )

    def _settings_of(self, node: str) -> tuple[Setting, ...]:
        return self._lives[node].sysctls if node in self._lives else ()

    def _routes(self, host: Host) -> Iterator[res.Route]:
        for route in host.routes:
            name = f"{host.name}:{route.interface}"
            interface = self._interfaces.get(name) or self._own[name]
            if not interface.up:  # the kernel has no route over what is down
                continue
            addresses = [f"{name}/address/{address}" for address in interface.addresses]
            below = (self._node_id(host.name), *([self._veths[name]] if name in self._veths else ()))
            attached = [self._attached[name]] if name in self._attached else []
            vrf = self._own.get(f"{host.name}:{route.vrf}")
            yield res.Route(
                id=f"{host.name}/route/{route.destination}" + (f"/{route.vrf}" if vrf is not None else ""),
                needs=(*below, *attached, *addresses),
                within=below,
                origin=route.range,
                netns=self._node_id(host.name),
                destination=str(route.destination),
                via=str(route.via),
                table=vrf.number if vrf is not None else MAIN_TABLE,
            )


def _address(id_: str, device: str, port: _Port, address: str, origin: Range) -> res.Address:
    return res.Address(
        id=id_,
        needs=(device,),
        within=(device,),
        origin=origin,
        netns=port.netns,
        device=port.device,
        address=address,
    )


def _host_id(name: str) -> str:
    return f"{name}/host"


def _bridge_id(name: str) -> str:
    return f"{name}/bridge"
