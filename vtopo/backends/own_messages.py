"""Requests for the interfaces that nodes make by themselves, as bytes, and what the kernel says of one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import get_args

from vtopo.backends import messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.messages import attribute, ifinfo, message, u32
from vtopo.backends.switching import u8, u16
from vtopo.compile.resources import Bond, Dummy, Vlan, Vrf
from vtopo.compile.resources.devices import BondMode

# linux/if_link.h
_VLAN_ID, _BOND_MODE, _BOND_MIIMON, _BOND_PRIMARY, _VRF_TABLE = 1, 1, 3, 11, 1
_SLAVE_PERM_HWADDR = 4

BOND_MODES: tuple[BondMode, ...] = get_args(BondMode)
"""By their number (BOND_MODE_* of linux/if_bonding.h)."""


def vlan(index: int, r: Vlan, below: int) -> bytes:
    """A VLAN of the interface `below`."""
    return _born(index, r, "vlan", u16(_VLAN_ID, r.vid), u32(m.IFLA_LINK, below))


def bond(index: int, r: Bond) -> bytes:
    """A bond of nothing yet."""
    return _born(index, r, "bond", u8(_BOND_MODE, BOND_MODES.index(r.mode)) + u32(_BOND_MIIMON, r.miimon))


def vrf(index: int, r: Vrf) -> bytes:
    """A routing domain."""
    return _born(index, r, "vrf", u32(_VRF_TABLE, r.table))


def dummy(index: int, r: Dummy) -> bytes:
    """An interface that leads nowhere."""
    return _born(index, r, "dummy", b"")


def _born(index: int, r: Vlan | Bond | Vrf | Dummy, kind: str, data: bytes, more: bytes = b"") -> bytes:
    payload = ifinfo(index, m.IFF_UP if r.state == "up" else 0, m.IFF_UP)
    payload += attribute(m.IFLA_IFNAME, r.name.encode() + b"\0")
    if not isinstance(r, Vrf):
        payload += u32(m.IFLA_MTU, r.mtu) + attribute(m.IFLA_ADDRESS, m.mac_bytes(r.mac))
    payload += u32(m.IFLA_GROUP, m.GROUP) + more
    info = attribute(m.IFLA_INFO_KIND, kind.encode() + b"\0")
    info += attribute(m.IFLA_INFO_DATA, data) if data else b""
    return message(m.RTM_NEWLINK, m.CREATE, payload + attribute(m.IFLA_LINKINFO, info))


def _changed(index: int, data: bytes) -> bytes:
    info = attribute(m.IFLA_INFO_KIND, b"bond\0") + attribute(m.IFLA_INFO_DATA, data)
    return message(m.RTM_NEWLINK, m.CHANGE, ifinfo(index) + attribute(m.IFLA_LINKINFO, info))


def set_miimon(index: int, miimon: int) -> bytes:
    """How often a bond looks at carriers, in ms."""
    return _changed(index, u32(_BOND_MIIMON, miimon))


def set_primary(index: int, primary: int) -> bytes:
    """The part that a bond uses as long as it can; 0: none."""
    return _changed(index, u32(_BOND_PRIMARY, primary))


# What the kernel has


def vlan_id(data: bytes) -> int:
    """The tag of a VLAN."""
    return _number(attributes(data, 0, len(data)).get(_VLAN_ID, b""))


def bond_mode(data: bytes) -> BondMode:
    """How a bond uses its parts."""
    return BOND_MODES[_number(attributes(data, 0, len(data)).get(_BOND_MODE, b"\0")) % len(BOND_MODES)]


def bond_miimon(data: bytes) -> int:
    """How often a bond looks at carriers, in ms."""
    return _number(attributes(data, 0, len(data)).get(_BOND_MIIMON, b""))


def bond_primary(data: bytes) -> int:
    """The interface that a bond uses as long as it can; 0: none."""
    return _number(attributes(data, 0, len(data)).get(_BOND_PRIMARY, b""))


def vrf_table(data: bytes) -> int:
    """The table of a routing domain."""
    return _number(attributes(data, 0, len(data)).get(_VRF_TABLE, b""))


def own_mac(slave: bytes) -> str:
    """The address that an interface had before a bond gave it the bond's; empty if it is not told."""
    return attributes(slave, 0, len(slave)).get(_SLAVE_PERM_HWADDR, b"").hex(":")


def words(kind: str, data: bytes) -> Iterator[str]:
    """What a request says that makes or changes one, as ip-link(8) writes it."""
    a = attributes(data, 0, len(data))
    if kind == "vlan" and _VLAN_ID in a:
        yield f"id {_number(a[_VLAN_ID])}"
    if kind == "vrf" and _VRF_TABLE in a:
        yield f"table {_number(a[_VRF_TABLE])}"
    if kind == "bond":
        if _BOND_MODE in a:
            yield f"mode {bond_mode(data)}"
        if _BOND_MIIMON in a:
            yield f"miimon {bond_miimon(data)}"
        if _BOND_PRIMARY in a:
            yield f"primary index {bond_primary(data)}"


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)
