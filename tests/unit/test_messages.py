"""The templates against pyroute2's own message classes, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from vtopo.backends import messages as m
from vtopo.backends import rare_messages


def encoded(cls: Any, value: dict[str, Any], kind: int, flags: int) -> bytes:
    request = cls()
    request.setvalue(value)
    request["header"]["type"] = kind
    request["header"]["flags"] = flags
    request.encode()
    return bytes(request.data)


def link_attributes(end: m.Birth) -> list[tuple[str, Any]]:
    return [
        ("IFLA_IFNAME", end.name),
        ("IFLA_MTU", end.mtu),
        ("IFLA_ADDRESS", end.mac),
        ("IFLA_GROUP", m.GROUP),
        ("IFLA_NUM_TX_QUEUES", 1),
        ("IFLA_NUM_RX_QUEUES", 1),
        ("IFLA_NET_NS_FD", end.netns),
    ]


@pytest.mark.parametrize("master", [0, 7])
@pytest.mark.parametrize("name", ["e", "eth0", "eth10", "uplink-to-core1"])
def test_veth(name: str, master: int) -> None:
    near = m.Birth(netns=5, index=2, name=name, mac="02:00:00:00:00:01", mtu=1500, master=master)
    far = m.Birth(netns=6, index=3, name="eth1", mac="02:00:00:00:00:02", mtu=9000)
    peer = {"index": 3, "attrs": link_attributes(far)}
    data = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]}
    attrs = [*link_attributes(near), *([("IFLA_MASTER", master)] if master else []), ("IFLA_LINKINFO", data)]
    value = {"index": 2, "flags": m.IFF_UP, "change": m.IFF_UP, "attrs": attrs}
    assert m.veth(near, far) == encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CREATE)


@pytest.mark.parametrize("master", [0, 7])
def test_up(master: int) -> None:
    attrs = [("IFLA_MASTER", master)] if master else []
    value = {"index": 3, "flags": m.IFF_UP, "change": m.IFF_UP, "attrs": attrs}
    assert m.up(3, master) == encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)


@pytest.mark.parametrize(
    ("spec", "family", "flags"),
    [
        ("10.0.0.1/24", m.AF_INET, m.IFA_F_PERMANENT),
        ("2001:db8::1/64", m.AF_INET6, m.IFA_F_PERMANENT | m.IFA_F_NODAD),
    ],
)
def test_address(spec: str, family: int, flags: int) -> None:
    text, _, prefix = spec.partition("/")
    value = {
        "family": family,
        "prefixlen": int(prefix),
        "flags": flags,
        "scope": 0,
        "index": 4,
        "attrs": [("IFA_LOCAL", text), ("IFA_ADDRESS", text), ("IFA_PROTO", m.PROTOCOL)],
    }
    assert m.address(4, spec) == encoded(ifaddrmsg, value, m.RTM_NEWADDR, m.CREATE)


@pytest.mark.parametrize(
    ("destination", "via"),
    [("0.0.0.0/0", "10.0.0.1"), ("10.2.0.0/16", "10.0.0.1"), ("::/0", "fd00::1"), ("fd01::/64", "fd00::1")],
)
def test_route(destination: str, via: str) -> None:
    text, _, prefix = destination.partition("/")
    value = {
        "family": m.AF_INET6 if ":" in via else m.AF_INET,
        "dst_len": int(prefix),
        "table": m.RT_TABLE_MAIN,
        "proto": m.PROTOCOL,
        "type": m.RTN_UNICAST,
        "attrs": [*([("RTA_DST", text)] if prefix != "0" else []), ("RTA_GATEWAY", via)],
    }
    assert m.route(destination, via) == encoded(rtmsg, value, m.RTM_NEWROUTE, m.CREATE)


def test_set_link() -> None:
    value = {"index": 3, "flags": 1, "change": 1, "attrs": [("IFLA_MTU", 1400), ("IFLA_GROUP", m.GROUP)]}
    assert m.set_link(3, mtu=1400, group=m.GROUP) == encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)


def test_flood_names_the_remote_and_no_mac() -> None:
    data = rare_messages.flood(9, "192.0.2.1")
    assert bytes((192, 0, 2, 1)) in data
    assert data[16] == m.AF_BRIDGE
