"""What the kernel has for links and hosts, found without loading a module: by its lists, else by asking it.

To ask for a kind of link makes the kernel load its module. So what is built in, loaded or at hand is read from
/lib/modules; only a kernel without those, which has nothing to load, is asked, in a namespace of our own.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator

from vtopo.doctor.findings import Finding, Health, Root
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """A kernel module, what of labs needs it, and the kind of link or qdisc that it is asked for by."""

    module: str
    title: str
    means: str
    kind: str
    is_qdisc: bool = False
    required: bool = False


VLAN_FILTERING = "bridge_vlan_filtering"
"""A part of the bridge's module that a kernel is built with or without."""

_LOOPBACK = 1
_IFLA_BR_VLAN_FILTERING = 7

FEATURES = (
    Feature("veth", "veth", "links", "veth", required=True),
    Feature("bridge", "bridges", "`bridge`", "bridge", required=True),
    Feature(VLAN_FILTERING, "bridge VLANs", "`vlan` and `trunk` of bridges' ports", "bridge"),
    Feature("vxlan", "VXLAN", "`overlay`", "vxlan"),
    Feature("tun", "taps", "links of VMs", "tun"),
    Feature("8021q", "VLAN interfaces", "`vlan 10 on eth0`", "vlan"),
    Feature("dummy", "dummies", "`dummy`", "dummy"),
    Feature("vrf", "VRFs", "`vrf`", "vrf"),
    Feature("bonding", "bonds", "`bond`", "bond"),
    Feature("ifb", "ifb", "shaping of what comes in", "ifb"),
    Feature(
        "sch_netem",
        "netem",
        "`delay`, `jitter`, `loss`, `duplicate`, `corrupt`, `reorder`",
        "netem",
        is_qdisc=True,
    ),
    Feature("sch_tbf", "tbf", "`rate`", "tbf", True),
    Feature("sch_ingress", "ingress", "links of VMs", "ingress", True),
)

OLDEST = (5, 18)
"""The first Linux that addresses can be marked on (IFA_PROTO, rtnetlink(7))."""

Ask = Callable[[Feature], int]
"""Asks the kernel for a feature; 0, or the errno that it says."""


def findings(root: Root, ask: Ask | None = None) -> Iterator[Finding]:
    """One for all that is there, and one for each that is not."""
    there: list[Feature] = []
    missing: list[Feature] = []
    release = (root.read("/proc/sys/kernel/osrelease") or "").strip()
    for feature in FEATURES:
        (there if has(root, release, feature, ask or _ask) else missing).append(feature)
    old = _is_old(release)
    yield Finding(
        "kernel",
        f"kernel {release}",
        Health.BAD if old else Health.GOOD,
        ", ".join(feature.title for feature in there),
        f"labs need Linux {'.'.join(map(str, OLDEST))}: older ones know no marks of addresses" if old else "",
        "apt-get install linux-image-amd64   # of a newer release, then boot" if old else "",
    )
    for feature in missing:
        yield Finding(
            f"kernel.{feature.module}",
            feature.title,
            Health.BAD if feature.required else Health.NOTE,
            f"the kernel has no {feature.module}",
            f"not here: {feature.means}",
            "apt-get install linux-image-amd64   # a kernel with it, then boot",
        )


def _is_old(release: str) -> bool:
    number = re.match(r"(\d+)\.(\d+)", release)
    return number is not None and (int(number[1]), int(number[2])) < OLDEST


def has(root: Root, release: str, feature: Feature, ask: Ask) -> bool:
    """Whether the kernel has it, or can load it when it is needed."""
    name = feature.module.replace("-", "_")
    if name == VLAN_FILTERING:
        config = root.read(f"/boot/config-{release}")
        if config is not None:
            return "CONFIG_BRIDGE_VLAN_FILTERING=y" in config.splitlines()
        return root.is_machine and root.exists("/sys/module/bridge") and _knows(ask(feature))
    if root.exists(f"/sys/module/{name}"):
        return True
    lists = [root.read(f"/lib/modules/{release}/modules.{which}") for which in ("builtin", "dep")]
    if any(text is not None for text in lists):
        return any(_listed(name, text) for text in lists if text is not None)
    return root.is_machine and _knows(ask(feature))


def _knows(said: int) -> bool:
    return said not in (errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV)


def _listed(module: str, text: str) -> bool:
    """In modules.builtin or modules.dep a module is the file at the start of a line."""
    for line in text.splitlines():
        file = line.partition(":")[0].rpartition("/")[2]
        if file.partition(".ko")[0].replace("-", "_") == module:
            return True
    return False


def _ask(feature: Feature) -> int:
    from vtopo.backends.threads import apart

    if feature.module == "tun":
        from pathlib import Path

        return 0 if Path("/dev/net/tun").exists() else errno.ENODEV
    return apart(lambda: _in_own_namespace(feature))


def _in_own_namespace(feature: Feature) -> int:
    """What the kernel says to a request for one, in a namespace that ends with this thread."""
    from vtopo.backends.netlink_socket import NetlinkSocket
    from vtopo.backends.syscalls import CLONE_NEWNET, unshare

    try:
        unshare(CLONE_NEWNET)
    except OSError as e:
        return e.errno or 0
    socket = NetlinkSocket()
    try:
        return socket.request([_request(feature)])[0].errno
    finally:
        socket.close()


def _request(feature: Feature) -> bytes:
    """For one without its particulars: a kernel that has it says what is lacking, not that it knows none."""
    from vtopo.backends import messages as m
    from vtopo.backends import tc_messages

    kind = feature.kind.encode() + b"\0"
    if feature.is_qdisc:
        return tc_messages.qdisc(_LOOPBACK, kind)
    info = m.attribute(m.IFLA_INFO_KIND, kind)
    if feature.module == VLAN_FILTERING:
        info += m.attribute(m.IFLA_INFO_DATA, m.attribute(_IFLA_BR_VLAN_FILTERING, b"\1"))
    name = m.attribute(m.IFLA_IFNAME, b"probe\0")
    return m.message(m.RTM_NEWLINK, m.CREATE, m.ifinfo(0) + name + m.attribute(m.IFLA_LINKINFO, info))
