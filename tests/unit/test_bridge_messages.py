"""Requests about bridges and their ports against pyroute2's own message classes, byte for byte, and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from test_messages import encoded

from vtopo.backends import messages as m
from vtopo.backends import switching
from vtopo.compile.resources import Bridge, BridgePort
from vtopo.compile.resources.ports import vlan_ranges, vlan_text

LAN = Bridge(id="lan/bridge", netns="fabric/netns", name="lan", mac="02:00:00:00:0b:01", mtu=1500)
TOLD = replace(
    LAN,
    stp=True,
    priority=4096,
    forward_delay=4000,
    hello_time=1000,
    max_age=6000,
    ageing=0,
    snooping=False,
    aware=True,
)
OPTIONS = [
    ("IFLA_BR_FORWARD_DELAY", 400),
    ("IFLA_BR_HELLO_TIME", 100),
    ("IFLA_BR_MAX_AGE", 600),
    ("IFLA_BR_AGEING_TIME", 0),
]
MORE = [
    ("IFLA_BR_PRIORITY", 4096),
    ("IFLA_BR_VLAN_FILTERING", 1),
    ("IFLA_BR_MCAST_SNOOPING", 0),
    ("IFLA_BR_VLAN_DEFAULT_PVID", 0),
]


def bridge_info(options: list[tuple[str, Any]]) -> tuple[str, Any]:
    return "IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": options})]}


@pytest.mark.parametrize(
    ("bridge", "options"),
    [
        (LAN, [("IFLA_BR_STP_STATE", 0)]),
        (TOLD, [("IFLA_BR_STP_STATE", 1), *OPTIONS, *MORE]),
    ],
    ids=["plain", "told"],
)
def test_a_bridge_is_born_with_all_that_it_is_told(bridge: Bridge, options: list[tuple[str, Any]]) -> None:
    attrs = [
        ("IFLA_IFNAME", "lan"),
        ("IFLA_MTU", 1501),
        ("IFLA_ADDRESS", bridge.mac),
        ("IFLA_GROUP", m.GROUP),
        bridge_info(options),
    ]
    assert switching.born(bridge, 7) == encoded(
        ifinfmsg, {"index": 7, "attrs": attrs}, m.RTM_NEWLINK, m.CREATE
    )


def test_of_a_bridge_that_is_there_only_what_differs_is_changed() -> None:
    wanted = [*OPTIONS, ("IFLA_BR_STP_STATE", 1), *MORE]
    value = {"index": 7, "attrs": [bridge_info(wanted)]}
    assert list(switching.bridge_changes(7, LAN, TOLD, [])) == [
        encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)
    ]
    value = {"index": 7, "attrs": [bridge_info([("IFLA_BR_PRIORITY", 1)])]}
    (only,) = switching.bridge_changes(7, LAN, replace(LAN, priority=1), [])
    assert only == encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)
    assert list(switching.bridge_changes(7, TOLD, TOLD, [])) == []


def test_what_a_port_is_told() -> None:
    port = BridgePort(isolated=True, learning=False, flood=False, cost=7)
    data = [
        ("IFLA_BRPORT_COST", 7),
        ("IFLA_BRPORT_LEARNING", 0),
        ("IFLA_BRPORT_UNICAST_FLOOD", 0),
        ("IFLA_BRPORT_ISOLATED", 1),
    ]
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]}
    value = {"index": 3, "attrs": [("IFLA_LINKINFO", info)]}
    assert list(switching.port_changes(3, None, port, [])) == [
        encoded(ifinfmsg, value, m.RTM_NEWLINK, m.CHANGE)
    ]
    assert list(switching.port_changes(3, port, port, [])) == []


def vlan_message(kind: int, vlans: list[tuple[int, int]], *, own: bool = False) -> bytes:
    spec: list[tuple[str, Any]] = [("IFLA_BRIDGE_FLAGS", 2)] if own else []
    spec += [("IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vid}) for flags, vid in vlans]
    value = {"family": m.AF_BRIDGE, "index": 3, "attrs": [("IFLA_AF_SPEC", {"attrs": spec})]}
    return encoded(ifinfmsg, value, kind, m.CHANGE)


def test_a_port_is_put_into_its_vlans_and_taken_out_of_others() -> None:
    port = BridgePort(vlan=10, trunk="20,30-32")
    had = [(1, 1, 6), (20, 25, 0)]
    assert list(switching.port_changes(3, None, port, had)) == [
        vlan_message(m.RTM_DELLINK, [(0, 1), (8, 21), (16, 25)]),
        vlan_message(m.RTM_SETLINK, [(6, 10), (0, 20), (8, 30), (16, 32)]),
    ]


def test_a_bridges_own_interface_is_in_vlans_too() -> None:
    assert list(switching.vlan_changes(3, [], 10, "20", own=True)) == [
        vlan_message(m.RTM_SETLINK, [(6, 10), (0, 20)], own=True)
    ]


def test_vlans_are_read_back_as_they_were_sent() -> None:
    (request,) = switching.vlan_changes(3, [], 10, "20,30-32", own=False)
    assert switching.told_vlans(request[36:]) == [(10, 10, 6), (20, 20, 0), (30, 32, 0)]


@pytest.mark.parametrize("vlan", [0, 10])
@pytest.mark.parametrize("kind", [m.RTM_NEWNEIGH, m.RTM_DELNEIGH])
def test_a_static_mac(vlan: int, kind: int) -> None:
    attrs: list[tuple[str, Any]] = [("NDA_LLADDR", "02:00:00:00:00:0a")]
    value = {
        "family": m.AF_BRIDGE,
        "ifindex": 3,
        "state": 0x42,
        "flags": 4,
        "ndm_type": 0,
        "attrs": [*attrs, *([("NDA_VLAN", vlan)] if vlan else [])],
    }
    flags = m.REPLACE if kind == m.RTM_NEWNEIGH else m.CHANGE
    assert switching.static_mac(3, "02:00:00:00:00:0a", vlan, kind) == encoded(ndmsg, value, kind, flags)


@pytest.mark.parametrize(
    ("vlans", "text"),
    [((), ""), ((10,), "10"), ((10, 11), "10-11"), ((1, 3, 4, 5, 9), "1,3-5,9"), (range(1, 4095), "1-4094")],
)
def test_vlans_as_text(vlans: tuple[int, ...], text: str) -> None:
    assert vlan_text(vlans) == text
    assert [v for first, last in vlan_ranges(text) for v in range(first, last + 1)] == list(vlans)
