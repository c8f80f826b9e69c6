"""Netlink requests for what a lab has few of, encoded by pyroute2's message classes, imported on first use."""

from __future__ import annotations

import ipaddress
from typing import Any

from vtopo.backends.messages import (
    AF_BRIDGE,
    APPEND,
    CHANGE,
    CREATE,
    GROUP,
    IFF_UP,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
)

NO_MAC = "00:00:00:00:00:00"
NUD_PERMANENT, NUD_NOARP, NTF_SELF = 0x80, 0x40, 0x02


def bridge(index: int, name: str, mac: str, mtu: int) -> bytes:
    """A bridge without spanning tree, still down.

    It is born with another MTU than `mtu`: only an MTU that was changed stays, any other follows the ports.
    """
    link = _link(index, name, mac, mtu + 1 if mtu < 65535 else mtu - 1)
    info = {
        "attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_STP_STATE", 0)]})]
    }
    link["attrs"].append(("IFLA_LINKINFO", info))
    return _encode(link, RTM_NEWLINK, CREATE)


def vxlan(
    index: int,
    name: str,
    mac: str,
    mtu: int,
    *,
    vni: int,
    port: int,
    local: str,
    device: int,
    master: int,
) -> bytes:
    """A VTEP (RFC 7348), up and a port of the bridge `master`; it learns, and sends to no one until told."""
    link = _link(index, name, mac, mtu)
    link["flags"] = link["change"] = IFF_UP
    local_kind = "IFLA_VXLAN_LOCAL" if ipaddress.ip_address(local).version == 4 else "IFLA_VXLAN_LOCAL6"
    data = [
        ("IFLA_VXLAN_ID", vni),
        (local_kind, local),
        ("IFLA_VXLAN_LINK", device),
        ("IFLA_VXLAN_PORT", port),
        ("IFLA_VXLAN_LEARNING", 1),
    ]
    info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]}
    link["attrs"] += [("IFLA_MASTER", master), ("IFLA_LINKINFO", info)]
    return _encode(link, RTM_NEWLINK, CREATE)


def move_vxlan(index: int, local: str, device: int) -> bytes:
    """A VTEP of another underlay address (of the same family) or interface."""
    local_kind = "IFLA_VXLAN_LOCAL" if ipaddress.ip_address(local).version == 4 else "IFLA_VXLAN_LOCAL6"
    data = {"attrs": [(local_kind, local), ("IFLA_VXLAN_LINK", device)]}
    info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", data)]}
    return _encode({"index": index, "attrs": [("IFLA_LINKINFO", info)]}, RTM_NEWLINK, CHANGE)


def flood(index: int, remote: str, kind: int = RTM_NEWNEIGH) -> bytes:
    """A VTEP's entry for all that it has not learned: one remote more (or, with RTM_DELNEIGH, one fewer)."""
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    value = {
        "family": AF_BRIDGE,
        "ifindex": index,
        "state": NUD_PERMANENT | NUD_NOARP,
        "flags": NTF_SELF,
        "ndm_type": 0,
        "attrs": [("NDA_LLADDR", NO_MAC), ("NDA_DST", remote)],
    }
    return _encode(value, kind, APPEND if kind == RTM_NEWNEIGH else CHANGE, ndmsg)


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
