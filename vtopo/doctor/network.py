"""What of the machine's own network labs have to do with: forwarding, firewalls, and the table of neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vtopo.doctor.findings import Finding, Health, Root

if TYPE_CHECKING:
    from vtopo.model.lab import Lab

_FORWARDING = {"IPv4": "net.ipv4.ip_forward", "IPv6": "net.ipv6.conf.all.forwarding"}
_TABLES = {4: "net.ipv4.neigh.default.gc_thresh3", 6: "net.ipv6.neigh.default.gc_thresh3"}
_LABS_OWN = "labs' own links never pass it"

Chains = Callable[[], Sequence[tuple[str, str]]]
"""The machine's chains that drop what it forwards, each with the command that lets labs' packets pass."""


def findings(root: Root, chains: Chains | None = None) -> Iterator[Finding]:
    """All of them; what the firewall does is only known of the machine itself."""
    yield _forwarding(root)
    if chains is not None or root.is_machine:
        yield _firewall(chains or _chains)
    yield _bridged(root)
    yield neighbours(root)


def _forwarding(root: Root) -> Finding:
    off = [name for name, key in _FORWARDING.items() if root.number(_file(key)) != 1]
    if not off:
        return Finding("forwarding", "IP forwarding", Health.GOOD, "IPv4 and IPv6")
    on = [name for name in _FORWARDING if name not in off]
    return Finding(
        "forwarding",
        "IP forwarding",
        Health.NOTE,
        f"{' and '.join(on)} only" if on else "off",
        f"no `uplink` with NAT over {' and '.join(off)}; routers inside labs forward all the same",
        f"sysctl -w {' '.join(f'{_FORWARDING[name]}=1' for name in off)}",
    )


def _firewall(chains: Chains) -> Finding:
    dropping = chains()
    if not dropping:
        return Finding(
            "firewall", "firewall", Health.GOOD, "no chain drops what is forwarded by default", _LABS_OWN
        )
    return Finding(
        "firewall",
        "firewall",
        Health.NOTE,
        f"drops what is forwarded by default: {', '.join(place for place, _ in dropping)}",
        f"`up` refuses an `uplink` with NAT until its packets may pass; {_LABS_OWN}",
        " && ".join(dict.fromkeys(command for _, command in dropping)),
    )


def _bridged(root: Root) -> Finding:
    asked = any(root.number(f"/proc/sys/net/bridge/bridge-nf-call-{p}") for p in ("iptables", "ip6tables"))
    return Finding(
        "br_netfilter",
        "bridged frames",
        Health.GOOD,
        "pass iptables" if asked else "pass no iptables",
        "labs' bridges are in namespaces of their own, whose iptables are empty",
    )


def neighbours(root: Root, lab: Lab | None = None) -> Finding:
    """What the kernel's tables of neighbours hold, which all namespaces share; with a lab, whether that is enough."""
    title = "neighbours"
    room = {version: root.number(_file(key)) for version, key in _TABLES.items()}
    known = {version: most for version, most in room.items() if most is not None}
    found = ", ".join(f"{most} of IPv{version}" for version, most in known.items()) or "unknown"
    least = min(known.values(), default=1 << 30)
    if lab is None:
        meaning = "in all labs together: a larger one whose nodes all talk to each other overflows it"
        health, mend = (Health.GOOD, "") if least > 1024 else (Health.NOTE, _raised(known, 1 << 16))
        return Finding("neighbours", title, health, found, meaning, mend)
    wanted = entries(lab)
    if not any(wanted[version] > most for version, most in known.items()):
        return Finding("neighbours", title, Health.GOOD, found, "enough for all of this lab's nodes at once")
    needs = " and ".join(f"{wanted[v]} of IPv{v}" for v in known if wanted[v] > known[v])
    return Finding(
        "neighbours",
        title,
        Health.NOTE,
        found,
        f"this lab's nodes have {needs}: when all talk, as in `vtopo test` of all pairs, some are not reached",
        _raised(known, 1 << (2 * max(wanted.values()) - 1).bit_length()),
    )


def _raised(known: dict[int, int], number: int) -> str:
    return f"sysctl -w {' '.join(f'{_TABLES[version]}={number}' for version in known)}"


def _file(key: str) -> str:
    return f"/proc/sys/{key.replace('.', '/')}"


def entries(lab: Lab) -> Counter[int]:
    """By IP version, how many entries there are once every node has talked to all others of its segments."""
    from vtopo.model.sets import Sets

    bridges = {bridge.name: bridge for bridge in lab.bridges}
    joined: Sets[str] = Sets()
    for link in lab.links:
        joined.join(*(end.node if end.node in bridges else end.full_name for end in (link.left, link.right)))
    for overlay in lab.overlays:
        for vtep in overlay.vteps[1:]:
            joined.join(overlay.vteps[0].bridge, vtep.bridge)
    members: Counter[tuple[str, int]] = Counter()
    for link in lab.links:
        for end in (link.left, link.right):
            for version in {address.version for address in end.addresses}:
                members[joined.root(end.full_name), version] += 1
    for bridge in lab.bridges:
        for version in {address.version for address in bridge.addresses}:
            members[joined.root(bridge.name), version] += 1
    found: Counter[int] = Counter()
    for (_, family), number in members.items():
        found[family] += number * (number - 1)
    return found


def _chains() -> Sequence[tuple[str, str]]:
    from vtopo.backends.firewalls import dropping

    return dropping()
