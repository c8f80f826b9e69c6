"""What this kernel has of what is not in every kernel: asked in an empty network namespace, of which nothing stays.

To ask may load the module in question; it is only asked where a lab is about to use it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from functools import cache

from vtopo.backends import switching, traffic
from vtopo.backends.base import Failed
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.places import empty_namespace
from vtopo.backends.threads import apart
from vtopo.compile.resources import Bridge, Impairment, Resource, Veth

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


def _asked(requests: Sequence[bytes]) -> Answer:
    """The first refusal of requests in an empty namespace, or that there was none."""

    def ask() -> Answer:
        with empty_namespace() as socket:
            return next((a for a in socket.request(requests) if a.errno), Answer(0))

    try:
        return apart(ask)
    except OSError as e:
        return Answer(e.errno or errno.EIO)
