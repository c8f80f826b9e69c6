"""NICs of a guest that runs: plugged in without a moment on the machine's own network, and out as the guest lets go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from vtopo.backends import dump, messages, names, taps
from vtopo.backends.hypervisor import library
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.backends.syscalls import CLONE_NEWNET, setns
from vtopo.backends.threads import apart
from vtopo.compile.resources import Domain
from vtopo.compile.resources.domains import Nic

if TYPE_CHECKING:
    import libvirt

LETTING_GO = 20.0
"""Seconds that a guest may take to let go of a NIC. Linux takes one; a firmware, or a kernel that hangs, never does."""


def replug(domain: libvirt.virDomain, netns: str, old: Domain, new: Domain) -> str | None:
    """Plug in what `new` has and `old` has not, and out the other way round; the reason if that cannot be.

    `netns` is the name of the VM's namespace. What is there, or gone, already is done.
    """
    wanted = {nic.name for nic in new.nics}
    before = {nic.name for nic in old.nics}
    for nic in new.nics:
        if nic.name not in before and (reason := _plug_in(domain, netns, new.node, nic)):
            return reason
    return _plug_out(domain, [nic for nic in old.nics if nic.name not in wanted])


def _plug_in(domain: libvirt.virDomain, netns: str, node: str, nic: Nic) -> str | None:
    """It has no carrier until its tap has left the machine's own namespace: nothing of the guest's comes by there."""
    from vtopo.compile.domain_xml import nic_xml

    libvirt = library()
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    if _element(domain, nic) is None:
        try:
            domain.attachDeviceFlags(nic_xml(nic, "down"), live)
        except libvirt.libvirtError as e:
            if "No more available PCI slots" not in str(e):
                raise
            return f"no slot is left for {nic.name}; after `vtopo node {node} restart` there are new ones"
    if reason := apart(partial(_settle, netns, nic)):
        return reason
    domain.updateDeviceFlags(nic_xml(nic, "up"), live)
    return None


def _settle(netns: str, nic: Nic) -> str | None:
    """Move a tap into the namespace, and join it with its plug if that is there: one that is new comes later."""
    with contextlib.closing(NetlinkSocket()) as machine, Path(names.path(netns)).open("rb") as place:
        made = dump.links(machine).get(nic.tap)
        if made is not None and made.kind == "tun":
            answer = machine.request([messages.move_link(made.index, place.fileno())])[0]
            if answer.errno:
                return str(answer)
        setns(place.fileno(), CLONE_NEWNET)
    return taps.joined_again(nic.tap, nic.name, nic.mtu)


def _plug_out(domain: libvirt.virDomain, gone: Sequence[Nic]) -> str | None:
    """Ask the guest to let go of them. One that does not is reset, by which QEMU takes out what was asked for.

    It cannot be taken back, so no wish to stop is heard meanwhile.
    """
    live = library().VIR_DOMAIN_AFFECT_LIVE
    for nic in gone:
        if (element := _element(domain, nic)) is not None:
            domain.detachDeviceFlags(ElementTree.tostring(element, encoding="unicode"), live)
    if _are_gone(domain, gone):
        return None
    domain.reset()
    if _are_gone(domain, gone):
        return None
    return f"the guest lets go of {', '.join(nic.name for nic in gone)} neither when asked nor by a reset"


def _are_gone(domain: libvirt.virDomain, nics: Sequence[Nic]) -> bool:
    """Whether the domain has none of them, now or within LETTING_GO."""
    end = time.monotonic() + LETTING_GO
    while any(_element(domain, nic) is not None for nic in nics):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _element(domain: libvirt.virDomain, nic: Nic) -> ElementTree.Element | None:
    """What libvirt says of a NIC; None if the domain has none on that tap."""
    root = ElementTree.fromstring(domain.XMLDesc())  # noqa: S314  libvirt's own words
    for element in root.iterfind("devices/interface"):
        target = element.find("target")
        if target is not None and target.get("dev") == nic.tap:
            return element
    return None
