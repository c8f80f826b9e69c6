"""Requests for interfaces that nodes make by themselves against pyroute2's message classes, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from test_messages import encoded

from vtopo.backends import messages as m
from vtopo.backends import own_messages
from vtopo.backends.attributes import attributes
from vtopo.compile.resources import Bond, Dummy, Vlan, Vrf

MAC = "02:00:00:00:00:01"
VLAN = Vlan(id="", netns="", name="v10", mac=MAC, mtu=1500, below="eth0", vid=10)
BOND = Bond(id="", netns="", name="b0", mac=MAC, mtu=1500, mode="active-backup", miimon=100)
LACP = Bond(id="", netns="", name="b0", mac=MAC, mtu=9000, mode="802.3ad", miimon=50, state="down")
VRF = Vrf(id="", netns="", name="red", table=1000)
DUMMY = Dummy(id="", netns="", name="d0", mac=MAC, mtu=1500)


def born(name: str, kind: str, data: list[tuple[str, Any]], **more: Any) -> bytes:
    info: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
    info += [("IFLA_INFO_DATA", {"attrs": data})] if data else []
    mtu = [("IFLA_MTU", more.get("mtu", 1500)), ("IFLA_ADDRESS", MAC)] if kind != "vrf" else []
    link = [("IFLA_LINK", more["link"])] if "link" in more else []
    attrs = [
        ("IFLA_IFNAME", name),
        *mtu,
        ("IFLA_GROUP", m.GROUP),
        *link,
        ("IFLA_LINKINFO", {"attrs": info}),
    ]
    value = {"index": 5, "flags": more.get("flags", m.IFF_UP), "change": m.IFF_UP, "attrs": attrs}
    return encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CREATE)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (own_messages.vlan(5, VLAN, 2), born("v10", "vlan", [("IFLA_VLAN_ID", 10)], link=2)),
        (own_messages.bond(5, BOND), born("b0", "bond", [("IFLA_BOND_MODE", 1), ("IFLA_BOND_MIIMON", 100)])),
        (
            own_messages.bond(5, LACP),
            born("b0", "bond", [("IFLA_BOND_MODE", 4), ("IFLA_BOND_MIIMON", 50)], mtu=9000, flags=0),
        ),
        (own_messages.vrf(5, VRF), born("red", "vrf", [("IFLA_VRF_TABLE", 1000)])),
        (own_messages.dummy(5, DUMMY), born("d0", "dummy", [])),
    ],
    ids=["vlan", "bond", "lacp", "vrf", "dummy"],
)
def test_one_is_born(request_: bytes, expected: bytes) -> None:
    assert request_ == expected


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (own_messages.set_miimon(5, 50), ("IFLA_BOND_MIIMON", 50)),
        (own_messages.set_primary(5, 3), ("IFLA_BOND_PRIMARY", 3)),
    ],
    ids=["miimon", "primary"],
)
def test_a_bond_is_changed(request_: bytes, data: tuple[str, Any]) -> None:
    info = {"attrs": [("IFLA_INFO_KIND", "bond"), ("IFLA_INFO_DATA", {"attrs": [data]})]}
    value = {"index": 5, "attrs": [("IFLA_LINKINFO", info)]}
    assert request_ == encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)


def data_of(request: bytes) -> bytes:
    """The particulars of a link in a request for it, which the kernel says in the same way."""
    link = attributes(request, 32, len(request))
    info = attributes(link[m.IFLA_LINKINFO], 0, len(link[m.IFLA_LINKINFO]))
    return info[m.IFLA_INFO_DATA]


def test_what_was_sent_is_read_back() -> None:
    assert own_messages.vlan_id(data_of(own_messages.vlan(5, VLAN, 2))) == 10
    lacp = data_of(own_messages.bond(5, LACP))
    assert (own_messages.bond_mode(lacp), own_messages.bond_miimon(lacp)) == ("802.3ad", 50)
    assert own_messages.bond_primary(data_of(own_messages.set_primary(5, 3))) == 3
    assert own_messages.vrf_table(data_of(own_messages.vrf(5, VRF))) == 1000


@pytest.mark.parametrize("table", [10, 1000])
def test_a_route_of_a_table(table: int) -> None:
    more = [("RTA_TABLE", table)] if table > 255 else []
    value = {
        "family": m.AF_INET,
        "dst_len": 0,
        "table": table if table < 256 else 0,
        "proto": m.PROTOCOL,
        "type": m.RTN_UNICAST,
        "attrs": [("RTA_GATEWAY", "10.0.0.1"), *more],
    }
    assert m.route("0.0.0.0/0", "10.0.0.1", table=table) == encoded(rtmsg, value, m.RTM_NEWROUTE, m.CREATE)
