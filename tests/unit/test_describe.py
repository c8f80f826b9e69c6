"""Netlink requests in words: as they are on the wire, whoever made them."""

import pytest

from vtopo.backends import messages, rare_messages, switching
from vtopo.backends.describe import describe
from vtopo.compile.resources import Bridge, BridgePort

NAMES = {("a/host", 2): "eth0", ("fabric/netns", 7): "lan", ("fabric/netns", 9): "lan.eth0"}
PLACES = {11: "a/host", 12: "fabric/netns"}


def words(request: bytes, place: str = "a/host") -> str:
    return describe(request, place, PLACES.__getitem__, lambda p, index: NAMES[p, index])


def test_a_veth_pair_is_told_with_both_ends() -> None:
    near = messages.Birth(12, 9, "lan.eth0", "02:00:00:00:00:01", 1500, 7)
    far = messages.Birth(11, 2, "eth0", "02:00:00:00:00:02", 1400)
    assert words(messages.veth(near, far), "") == (
        "RTM_NEWLINK veth lan.eth0 in fabric mtu 1500 address 02:00:00:00:00:01 master lan group 30324 up"
        " peer eth0 in a mtu 1400 address 02:00:00:00:00:02 group 30324"
    )


def test_a_vxlan_is_told_with_what_makes_it_one() -> None:
    request = rare_messages.vxlan(
        *(9, "vxlan7", "02:00:00:00:00:01", 1450),
        rare_messages.Tunnel("192.0.2.1", 2, group="239.1.1.1", ttl=9, tos=1),
        vni=7,
        port=4789,
        master=2,
    )
    assert words(request) == (
        "RTM_NEWLINK vxlan vxlan7 in a mtu 1450 address 02:00:00:00:00:01 master eth0 group 30324 up"
        " id 7 group 239.1.1.1 local 192.0.2.1 dev eth0 dstport 4789 ttl 9 tos inherit learning"
    )


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (messages.up(2), "RTM_NEWLINK eth0 in a up"),
        (messages.set_link(2, mtu=9000), "RTM_NEWLINK eth0 in a mtu 9000 up"),
        (messages.set_link(2, master=0), "RTM_NEWLINK eth0 in a nomaster up"),
        (messages.set_group(2, messages.GOING), "RTM_NEWLINK eth0 in a group 30325"),
        (messages.delete_link(2), "RTM_DELLINK eth0 in a"),
        (messages.delete_group(messages.GOING), "RTM_DELLINK all of group 30325 in a"),
        (messages.address(2, "10.0.0.1/24"), "RTM_NEWADDR 10.0.0.1/24 dev eth0 in a"),
        (messages.address(2, "fd00::1/64", messages.RTM_DELADDR), "RTM_DELADDR fd00::1/64 dev eth0 in a"),
        (messages.route("0.0.0.0/0", "10.0.0.2"), "RTM_NEWROUTE default via 10.0.0.2 in a"),
        (messages.route("10.7.0.0/16", "fe80::1"), "RTM_NEWROUTE 10.7.0.0/16 via fe80::1 in a"),
        (messages.route("::/0", "fd00::2", messages.RTM_DELROUTE), "RTM_DELROUTE default via fd00::2 in a"),
        (rare_messages.flood(2, "192.0.2.2"), "RTM_NEWNEIGH 00:00:00:00:00:00 dst 192.0.2.2 dev eth0 in a"),
        (
            rare_messages.port_of_vxlan(2, False),
            "RTM_NEWLINK bridge_slave eth0 in a learning off neigh_suppress on",
        ),
        (
            rare_messages.forward(2, "02:00:00:00:00:01", "192.0.2.2")[0],
            "RTM_NEWNEIGH 02:00:00:00:00:01 dev eth0 in a",
        ),
        (
            rare_messages.neighbour(2, "fd00::2", "02:00:00:00:00:01"),
            "RTM_NEWNEIGH 02:00:00:00:00:01 dst fd00::2 dev eth0 in a",
        ),
        (messages.message(66, 0, b""), "netlink message 66"),
    ],
)
def test_each_request_reads_as_ip_would_write_it(request_: bytes, text: str) -> None:
    assert words(request_) == text


def test_a_bridge_is_told() -> None:
    lan = Bridge(id="", netns="", name="lan", mac="02:00:00:00:00:01", mtu=1500, priority=4096, aware=True)
    assert words(switching.born(lan, 7), "fabric/netns") == (
        "RTM_NEWLINK bridge lan in fabric mtu 1501 address 02:00:00:00:00:01 group 30324 "
        "stp_state 0 priority 4096 vlan_filtering 1 vlan_default_pvid 0"
    )


def test_a_port_is_told() -> None:
    port = BridgePort(vlan=10, trunk="20-29", isolated=True, cost=7)
    assert [words(request, "fabric/netns") for request in switching.port_changes(9, None, port, [])] == [
        "RTM_NEWLINK bridge_slave lan.eth0 in fabric cost 7 isolated on",
        "RTM_SETLINK lan.eth0 in fabric vid 10 pvid untagged vid 20-29",
    ]
    assert words(switching.static_mac(9, "02:00:00:00:00:0a", 10), "fabric/netns") == (
        "RTM_NEWNEIGH 02:00:00:00:00:0a vlan 10 dev lan.eth0 in fabric"
    )
