"""Which edits of a VM's NICs a guest takes while it runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vtopo.compile.resources import Domain
from vtopo.compile.resources.domains import Memory, Nic
from vtopo.plan.diff import changes

ETH0 = Nic(name="eth0", mac="02:00:00:00:00:01", tap="vt0")
ETH1 = Nic(name="eth1", mac="02:00:00:00:00:02", tap="vt1")
WAN = Nic(name="wan", mac="02:00:00:00:00:03", passthrough="0000:03:10.1")


def domain(*nics: Nic) -> Domain:
    return Domain(id="v/domain", node="v", name="vtopo.l.v", uuid="", memory=Memory(size=1), nics=nics)


def other(nic: Nic, **fields: Any) -> Nic:
    return dataclasses.replace(nic, **fields)


@pytest.mark.parametrize(
    ("was", "now", "in_place"),
    [
        ((ETH0,), (ETH0, ETH1), True),
        ((ETH0, ETH1), (ETH1,), True),
        ((ETH0,), (ETH1,), True),
        ((WAN, ETH0), (WAN, ETH0, ETH1), True),
        ((ETH0,), (other(ETH0, mtu=9000),), False),
        ((ETH0,), (other(ETH0, mac="02:00:00:00:00:09"),), False),
        ((ETH0,), (ETH0, other(ETH1, model="e1000")), False),
        ((ETH0, other(ETH1, model="rtl8139")), (ETH0,), False),
        ((ETH0,), (ETH0, WAN), False),
        ((ETH0, WAN), (ETH0,), False),
    ],
)
def test_what_a_guest_can_be_given_or_lose(
    was: tuple[Nic, ...], now: tuple[Nic, ...], in_place: bool
) -> None:
    old, new = domain(*was), domain(*now)
    (change,) = changes(old, new)
    assert change.field == "nics"
    assert new.changes_in_place("nics", old) is in_place
