"""Netlink requests for what a lab has few of, encoded by pyroute2's message classes, imported on first use."""

from __future__ import annotations

import ipaddress
from typing import Any

from vtopo.backends.messages import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    APPEND,
    CHANGE,
    CREATE,
    GROUP,
    IFA_F_PERMANENT,
    IFF_UP,
    NTF_MASTER,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    PROTOCOL,
    REPLACE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
)
from vtopo.values import dataclass

NO_MAC = "00:00:00:00:00:00"


def vxlan(
    index: int,
    name: str,
    mac: str,
    mtu: int,
    tunnel: Tunnel,
    *,
    vni: int,
    port: int,
    master: int,
) -> bytes:
    """A VTEP (RFC 7348), up and a port of the bridge `master`; without a group it sends to no one until told."""
    link = _link(index, name, mac, mtu)
    link["flags"] = link["change"] = IFF_UP
    link["attrs"] += [("IFLA_MASTER", master), ("IFLA_LINKINFO", _vxlan_info(tunnel, vni, port))]
    return _encode(link, RTM_NEWLINK, CREATE)


def machine_vxlan(name: str, mac: str, mtu: int, tunnel: Tunnel, *, vni: int, port: int, netns: int) -> bytes:
    """A VTEP that is born down in the namespace of a descriptor, and sends from that of the socket."""
    link = _link(0, name, mac, mtu)
    link["attrs"] += [("IFLA_NET_NS_FD", netns), ("IFLA_LINKINFO", _vxlan_info(tunnel, vni, port))]
    return _encode(link, RTM_NEWLINK, CREATE)


def _vxlan_info(tunnel: Tunnel, vni: int, port: int) -> dict[str, Any]:
    data = [("IFLA_VXLAN_ID", vni), *tunnel.attributes(), ("IFLA_VXLAN_PORT", port)]
    if tunnel.group:
        data.append((f"IFLA_VXLAN_GROUP{_six(tunnel.group)}", tunnel.group))
    return {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]}


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a VTEP sends from and with: `device` is the underlay's interface by its index, 0 for none."""

    local: str
    device: int
    group: str = ""
    learning: bool = True
    ttl: int = 0
    tos: int = 0

    def attributes(self) -> list[tuple[str, Any]]:
        """What can be changed while it is there."""
        device = [("IFLA_VXLAN_LINK", self.device)] if self.device else []
        return [
            (f"IFLA_VXLAN_LOCAL{_six(self.local)}", self.local),
            *device,
            ("IFLA_VXLAN_TTL", self.ttl),
            ("IFLA_VXLAN_TOS", self.tos),
            ("IFLA_VXLAN_LEARNING", int(self.learning)),
        ]


def _six(address: str) -> str:
    return "6" if ":" in address else ""


def change_vxlan(index: int, tunnel: Tunnel) -> bytes:
    """A VTEP of another underlay address (of the same family) or interface, or that sends in another way."""
    info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": tunnel.attributes()})]}
    return _encode({"index": index, "attrs": [("IFLA_LINKINFO", info)]}, RTM_NEWLINK, CHANGE)


def port_of_vxlan(index: int, learning: bool) -> bytes:
    """A VTEP as the port of its bridge: it learns, or the bridge answers ARP and ND for who is behind it."""
    data = [("IFLA_BRPORT_LEARNING", int(learning)), ("IFLA_BRPORT_NEIGH_SUPPRESS", int(not learning))]
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]}
    return _encode({"index": index, "attrs": [("IFLA_LINKINFO", info)]}, RTM_NEWLINK, CHANGE)


def macvlan(name: str, below: int, netns: int, mtu: int, *, passthru: bool, mac: str) -> bytes:
    """A macvlan on the interface `below`, born down in the namespace of a descriptor."""
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_GROUP", GROUP)]
    attrs += [("IFLA_LINK", below), ("IFLA_NET_NS_FD", netns)]
    if mac:
        attrs.append(("IFLA_ADDRESS", mac))
    data = {"attrs": [("IFLA_MACVLAN_MODE", "passthru" if passthru else "bridge")]}
    attrs.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "macvlan"), ("IFLA_INFO_DATA", data)]}))
    return _encode({"index": 0, "attrs": attrs}, RTM_NEWLINK, CREATE)


def flood(index: int, remote: str, kind: int = RTM_NEWNEIGH) -> bytes:
    """A VTEP's entry for all that it has not learned: one remote more (or, with RTM_DELNEIGH, one fewer)."""
    return _entry(index, NO_MAC, remote, kind, APPEND)


def forward(index: int, mac: str, remote: str, kind: int = RTM_NEWNEIGH) -> list[bytes]:
    """Where a MAC is: behind a VTEP, for its bridge; behind a remote, for the VTEP. What was learned gives way."""
    return [_entry(index, mac, "", kind, REPLACE), _entry(index, mac, remote, kind, REPLACE)]


def _entry(index: int, mac: str, remote: str, kind: int, flags: int) -> bytes:
    """A forwarding entry of a VTEP; without a remote, of the bridge that it is a port of."""
    value = {
        "family": AF_BRIDGE,
        "ifindex": index,
        # A bridge takes what is permanent for an address of its own.
        "state": NUD_NOARP | (NUD_PERMANENT if remote else 0),
        "flags": NTF_SELF if remote else NTF_MASTER,
        "ndm_type": 0,
        "attrs": [("NDA_LLADDR", mac), *([("NDA_DST", remote)] if remote else [])],
    }
    return _neighbour(value, kind, flags)


def neighbour(index: int, address: str, mac: str, kind: int = RTM_NEWNEIGH) -> bytes:
    """A permanent entry of an ARP or neighbour table, with our mark; what was learned gives way."""
    attrs = [("NDA_DST", address), ("NDA_LLADDR", mac), ("NDA_PROTOCOL", PROTOCOL)]
    value = {
        "family": AF_INET6 if ":" in address else AF_INET,
        "ifindex": index,
        "state": NUD_PERMANENT,
        "flags": 0,
        "ndm_type": 0,
        "attrs": attrs,
    }
    return _neighbour(value, kind, REPLACE)


def _neighbour(value: dict[str, Any], kind: int, flags: int) -> bytes:
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    return _encode(value, kind, flags if kind == RTM_NEWNEIGH else CHANGE, ndmsg)


def _link(index: int, name: str, mac: str, mtu: int) -> dict[str, Any]:
    attrs = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac), ("IFLA_GROUP", GROUP)]
    return {"index": index, "attrs": attrs}


def _encode(value: dict[str, Any], kind: int, flags: int, cls: Any = None) -> bytes:
    if cls is None:
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        cls = ifinfmsg
    request = cls()
    request.setvalue(value)
    request["header"]["type"] = kind
    request["header"]["flags"] = flags
    request.encode()
    return bytes(request.data)


def unmarked_address(index: int, spec: str, kind: int = RTM_NEWADDR) -> bytes:
    """An address on an interface as somebody else has added it: `10.0.0.1/24`, or `10.0.0.1 peer 10.0.0.2/32`."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    local, _, peer = spec.partition(" peer ")
    far = ipaddress.ip_interface(peer or local)
    value = {
        "family": AF_INET if far.version == 4 else AF_INET6,
        "prefixlen": far.network.prefixlen,
        "flags": IFA_F_PERMANENT,
        "index": index,
        "attrs": [("IFA_LOCAL", local.partition("/")[0]), ("IFA_ADDRESS", str(far.ip))],
    }
    return _encode(value, kind, CREATE if kind == RTM_NEWADDR else CHANGE, ifaddrmsg)
