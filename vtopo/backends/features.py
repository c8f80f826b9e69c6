"""What this kernel has of what is not in every kernel: asked in an empty network namespace, of which nothing stays.

To ask may load the module in question; it is only asked where a lab is about to use it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from functools import cache

from vtopo.backends import own_messages, switching, traffic
from vtopo.backends.base import Failed
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.places import empty_namespace
from vtopo.backends.threads import apart
from vtopo.compile.resources import Bond, Bridge, Dummy, Impairment, Resource, Veth, Vlan, Vrf

_LOOPBACK = 1

NO_NETEM = (
    "this kernel has no netem, which delay, jitter, loss, duplicate, corrupt and reorder need (a rate alone works); "
    "some distributions have it in a package of its own: linux-modules-extra, kernel-modules-extra"
)


def unable(batch: Sequence[Resource]) -> Iterator[Failed]:
    """Those of a batch that this kernel has nothing for."""
    for r in batch:
        lack = None
        if isinstance(r, Veth) and _has_delays(r):
            lack = _netem()
        elif isinstance(r, Bridge) and r.aware:
            lack = _vlan_filtering()
        elif isinstance(r, Vlan | Bond | Vrf | Dummy):
            lack = _own(r.kind)
        if lack is not None:
            yield Failed(r.id, lack, errno.EOPNOTSUPP)


def _has_delays(r: Veth) -> bool:
    return any(end.impairment is not None and end.impairment.needs_netem for end in (r.left, r.right))


@cache
def _netem() -> str | None:
    answer = _asked(traffic.qdiscs(_LOOPBACK, Impairment(delay=1)))
    if not answer.errno:
        return None
    # ENOENT: "Specified qdisc kind is unknown", in kernels of all ages.
    return NO_NETEM if answer.errno == errno.ENOENT else f"netem cannot be used here: {answer}"


@cache
def _vlan_filtering() -> str | None:
    bridge = Bridge(id="", netns="", name="probe", mac="02:00:00:00:00:01", mtu=1500, aware=True)
    answer = _asked([switching.born(bridge, 0)])
    if answer.errno == errno.EOPNOTSUPP:
        return "this kernel's bridges tell no VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)"
    return f"bridges that tell VLANs apart cannot be made here: {answer}" if answer.errno else None


_OWN = {
    "vlan": "VLAN devices (CONFIG_VLAN_8021Q)",
    "bond": "bonds (CONFIG_BONDING)",
    "vrf": "VRFs (CONFIG_NET_VRF)",
    "dummy": "dummies (CONFIG_DUMMY)",
}


@cache
def _own(kind: str) -> str | None:
    """Whether a node can make an interface of a kind for itself; a VLAN needs one to be of."""
    name, mac, mtu = "probe1", "02:00:00:00:00:02", 1500
    bridge = Bridge(id="", netns="", name="probe", mac="02:00:00:00:00:01", mtu=mtu)
    requests = {
        "vlan": own_messages.vlan(
            8, Vlan(id="", netns="", name=name, mac=mac, mtu=mtu, below="probe", vid=1, state="down"), 7
        ),
        "bond": own_messages.bond(
            8, Bond(id="", netns="", name=name, mac=mac, mtu=mtu, mode="active-backup", miimon=100)
        ),
        "vrf": own_messages.vrf(8, Vrf(id="", netns="", name=name, table=10)),
        "dummy": own_messages.dummy(8, Dummy(id="", netns="", name=name, mac=mac, mtu=mtu)),
    }
    answer = _asked([switching.born(bridge, 7), requests[kind]])
    if answer.errno == errno.EOPNOTSUPP:
        return f"this kernel has no {_OWN[kind]}"
    return f"{_OWN[kind]} cannot be made here: {answer}" if answer.errno else None


def _asked(requests: Sequence[bytes]) -> Answer:
    """The first refusal of requests in an empty namespace, or that there was none."""

    def ask() -> Answer:
        with empty_namespace() as socket:
            return next((a for a in socket.request(requests) if a.errno), Answer(0))

    try:
        return apart(ask)
    except OSError as e:
        return Answer(e.errno or errno.EIO)
