"""Reads what uplinks say of the machine, and finds what contradicts itself; and what hosts masquerade."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from vtopo.digests import sha256
from vtopo.lang import ast
from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model import lab as model
from vtopo.model.draft import Draft, NodeDraft, Segment
from vtopo.model.interfaces import check_device_name
from vtopo.model.lab import IPNetwork
from vtopo.model.names import Scope
from vtopo.model.properties import Settings

Ports = dict[tuple[int, str], tuple[NodeDraft, Range]]
"""Who has published which port of the machine, and where."""

_TRANSIT_4, _TRANSIT_6 = ipaddress.ip_network("198.18.0.0/15"), 0xFD << 120
_ONLY_NAT = ("publish", "transit", "address")


class UplinkPass:
    """Reads each uplink; `ports` are those of the machine that containers have."""

    def __init__(self, draft: Draft, scope: Scope, ports: Ports, diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._scope = scope
        self._ports = ports
        self._diagnostics = diagnostics
        self._segments = {bridge: s for s in draft.lans for bridge in s.bridges}

    def resolve(self) -> tuple[model.Uplink, ...]:
        """The lab's uplinks."""
        found = []
        for node in self._draft.nodes.values():
            if node.kind == "uplink":
                self._diagnostics.via = node.via
                found.append(self._of(node))
        self._one_each(found)
        return tuple(found)

    def _one_each(self, uplinks: Sequence[model.Uplink]) -> None:
        """An interface that is bridged in is one uplink's alone; macvlans share it."""
        first: dict[str, model.Uplink] = {}
        for uplink in uplinks:
            if uplink.interface is None:
                continue
            other = first.setdefault(uplink.interface, uplink)
            if other is not uplink and "bridge" in (uplink.mode, other.mode):
                self._bad(
                    f"`{uplink.interface}` has two uplinks, and one of them takes it whole",
                    uplink.range,
                    "again here",
                    [Label(other.range, "first here")],
                    help=f'link all to one of them, or share it: `interface "{uplink.interface}" {{ mode macvlan }}` '
                    "in both",
                )
        for vtep in (vtep for overlay in self._draft.overlays for vtep in overlay.vteps):
            taker = first.get(vtep.outside) if vtep.end is None else None
            if taker is not None and taker.mode == "bridge":
                self._bad(
                    f"`{vtep.outside}` has an uplink that takes it whole, and no packet of a tunnel's comes in",
                    vtep.range,
                    "this tunnel end",
                    [Label(taker.range, "the uplink")],
                    help=f'share it: `interface "{vtep.outside}" {{ mode macvlan }}`',
                )

    def _of(self, node: NodeDraft) -> model.Uplink:
        if node.host is not None:
            self._bad(
                f"`{node.name}` leads out of `{node.host.name}`, and an uplink leads out of the machine",
                node.range,
                help="declare it outside, and link the host to it",
            )
        given = node.settings.texts("interface")
        name = given[0].value if given else None
        block = given[0].block if given and given[0].block is not None else Settings()
        mode = block.value("mode", str) or "bridge"
        if name is not None:
            check_device_name(name, given[0].range, self._diagnostics)
            self._without_nat(node)
        else:
            for setting in node.settings.many("gateway"):
                self._bad("an uplink with NAT is the gateway", setting.range, "leave this out")
        if mode == "macvlan":
            self._shared(node)
        return model.Uplink(
            node.name,
            name,
            mode,
            block.value("takeover", bool) or False,
            tuple(self._transit(node)) if name is None else (),
            tuple(self._publish(node)) if name is None else (),
            node.range,
        )

    def _without_nat(self, node: NodeDraft) -> None:
        for what in _ONLY_NAT:
            for setting in node.settings.many(what):
                self._bad(f"`{what}` takes NAT", setting.range, "and this uplink has an `interface`")

    def _shared(self, node: NodeDraft) -> None:
        """Each link's end is a macvlan, which carries one MAC address and has no other end."""
        for end in node.ends:
            if end.peer is None:
                continue
            other = end.peer.node
            if other.is_bridge or other.kind == "vm":
                why = f"`{other.name}` has others behind it" if other.is_bridge else "a vm brings its own"
                self._bad(
                    f"a macvlan carries one MAC address, and {why}",
                    end.range,
                    f"`{node.name}` has `mode macvlan`",
                    help="plug in hosts and containers, or use `mode bridge`",
                )
        for link in self._draft.links:
            if node in (link.left.node, link.right.node):
                for settings in (link.settings, link.forth, link.back):
                    for name in sorted(settings.found.keys() - {"mtu", "state"}):
                        place = settings.found[name][0].range
                        self._bad(
                            f"`{name}` of a link takes two ends", place, "a macvlan on the machine has one"
                        )

    def _transit(self, node: NodeDraft) -> Iterator[IPNetwork]:
        written: dict[int, IPNetwork] = {}
        for setting in node.settings.networks("transit"):
            network = setting.value
            if network.num_addresses != 2:
                help = f"such as {network.network_address}/{network.max_prefixlen - 1}"
                many = f"{network.num_addresses} are here"
                self._bad("a transit is two addresses", setting.range, many, help=help)
            elif network.version in written:
                self._bad(f"two IPv{network.version} transits", setting.range, "a second one")
            written.setdefault(network.version, network)
        digest = sha256(f"{self._draft.name}\0{node.name}".encode()).digest()
        own = (*(s.value for s in node.settings.interfaces("address")), *node.given)
        for version in sorted({address.version for address in own}):
            if version in written:
                yield written[version]
            elif version == 4:
                base = int(_TRANSIT_4.network_address) + 2 * int.from_bytes(digest[:2], "big")
                yield ipaddress.IPv4Network((base, 31))
            else:
                base = _TRANSIT_6 | int.from_bytes(digest[:7], "big") << 64
                yield ipaddress.IPv6Network((base, 127))

    # Ports

    def _publish(self, node: NodeDraft) -> Iterator[model.PublishedPort]:
        for setting in node.settings.many("publish"):
            ports, reference = setting.value, setting.slots["node"]
            assert isinstance(ports, tuple)
            assert isinstance(reference, ast.Reference)
            port, to_port = (int(each) for each in ports)
            protocol = str(setting.slots.get("protocol", "tcp"))
            first, place = self._ports.setdefault((port, protocol), (node, setting.range))
            if place is not setting.range:
                self._bad(
                    f"the machine's {protocol} port {port} is published twice",
                    setting.range,
                    "again here",
                    [Label(place, f"by `{first.name}`")],
                )
            for target in self._scope.find(reference, node.parent) or ():
                addresses = _addresses_on(target, self._segments[node])
                if not addresses and not self._diagnostics.failed:
                    self._bad(
                        f"`{target.name}` has no address on `{node.name}`",
                        setting.range,
                        "what comes in here could not go on",
                        [Label(target.range, "the node")],
                        help=f"link it to `{node.name}`, or publish a router that forwards to it",
                    )
                yield model.PublishedPort(protocol, port, target.name, to_port, tuple(addresses))

    def _bad(
        self,
        message: str,
        place: Range,
        label: str = "",
        others: Sequence[Label] = (),
        help: str = "",
    ) -> None:
        self._diagnostics.add("E0220", message, place, label, others=list(others), help=help)


def _addresses_on(node: NodeDraft, segment: Segment) -> list[str]:
    """A node's first address of each family on a segment."""
    first: dict[int, str] = {}
    for end in segment.ends():
        for address in end.addresses if end.node is node else ():
            first.setdefault(address.version, str(address.ip))
    return [first[version] for version in sorted(first)]


def masqueraded(node: NodeDraft, diagnostics: Diagnostics) -> tuple[str, ...]:
    """The interfaces whose addresses what leaves by them takes."""
    names = {end.name for end in node.ends}
    found: list[str] = []
    for setting in node.settings.texts("masquerade"):
        if setting.value not in names:
            diagnostics.add(
                "E0303",
                f"`{node.name}` has no interface `{setting.value}`",
                setting.range,
                help=did_you_mean(setting.value, names, f"it has {', '.join(sorted(names)) or 'none'}"),
            )
        found.append(setting.value)
    return tuple(dict.fromkeys(found))
