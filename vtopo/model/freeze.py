"""The end of this stage: the draft, all decided, as a frozen lab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vtopo.lang.diagnostics import Diagnostics
from vtopo.model import lab as model
from vtopo.model.draft import Draft, EndDraft, LinkDraft, NodeDraft, OverlayDraft
from vtopo.model.expectations import ExpectPass
from vtopo.model.interfaces import MADE_BY
from vtopo.model.limits import read_limits
from vtopo.model.names import Scope
from vtopo.model.ports import PortPass
from vtopo.model.properties import Settings
from vtopo.model.routes import RoutePass
from vtopo.model.schema import DEFAULT_VXLAN_PORT
from vtopo.model.uplinks import masqueraded
from vtopo.model.vms import vm_of


def freeze(
    draft: Draft,
    bridge_mtus: Mapping[str, int],
    ports: PortPass,
    expects: ExpectPass,
    lives: tuple[model.Life, ...],
    containers: tuple[model.Container, ...],
    uplinks: tuple[model.Uplink, ...],
    isolations: Mapping[str, model.Isolation],
    seeds: Mapping[str, model.CloudInit],
    scope: Scope,
    diagnostics: Diagnostics,
) -> model.Lab:
    """The lab of a draft."""
    routes = RoutePass(draft.lans, scope, ports, diagnostics)
    hosts: list[model.Host] = []
    bridges: list[model.Bridge] = []
    devices: list[model.Device] = []
    for node in draft.nodes.values():
        if node.is_module:
            continue
        if node.is_bridge:
            routes.check(node)
            bridges.append(_bridge(node, bridge_mtus, ports))
        else:
            hosts.append(_host(node, routes, isolations.get(node.name), diagnostics))
            devices += [_device(draft, end) for end in node.ends if end.peer is None]
    return model.Lab(
        draft.name,
        tuple(hosts),
        tuple(bridges),
        tuple(_link(draft, link, ports) for link in draft.links),
        tuple(_overlay(overlay, ports) for overlay in draft.overlays),
        tuple(expects.found),
        tuple(devices),
        tuple(expects.scenarios),
        tuple(_unrealized(draft)),
        tuple(
            vm_of(node, draft, seeds.get(node.name), diagnostics)
            for node in draft.nodes.values()
            if node.kind == "vm"
        ),
        draft.settings.value("overcommit", int) or 0,
        lives,
        containers,
        uplinks,
    )


def _host(
    node: NodeDraft, routes: RoutePass, isolation: model.Isolation | None, diagnostics: Diagnostics
) -> model.Host:
    forward = node.settings.value("forward", bool) or False
    return model.Host(
        node.name,
        _parent(node),
        forward,
        routes.of(node),
        node.range,
        node.kind,
        read_limits(node, diagnostics),
        isolation,
        masqueraded(node, diagnostics),
    )


def _parent(node: NodeDraft) -> str | None:
    return node.host.name if node.host is not None else None


_SWITCHES_BY = (
    *("stp", "priority", "forward-delay", "hello-time", "max-age"),
    *("vlan", "ageing", "multicast-snooping"),
)


def _bridge(node: NodeDraft, mtus: Mapping[str, int], ports: PortPass) -> model.Bridge:
    settings = node.settings
    snooping = settings.value("multicast-snooping", bool)
    times = {
        "ageing": 300_000_000,
        "forward-delay": 15_000_000,
        "hello-time": 2_000_000,
        "max-age": 20_000_000,
    }
    for name in times:
        if (given := settings.value(name, int)) is not None:
            times[name] = given
    priority = settings.value("priority", int)
    return model.Bridge(
        node.name,
        _parent(node),
        (
            *(s.value for s in ports.numbering(node, ports.own_vlan(node)).interfaces("address")),
            *node.given,
        ),
        mtus[node.name],
        node.range,
        node.kind,
        settings.value("stp", bool) or False,
        times["ageing"],
        snooping if snooping is not None else True,
        priority if priority is not None else 0x8000,
        times["forward-delay"],
        times["hello-time"],
        times["max-age"],
        node in ports.aware,
        ports.own_vlan(node),
        ports.own_trunk(node),
        tuple(name for name in _SWITCHES_BY if settings.found.get(name)),
    )


def _device(draft: Draft, own: EndDraft) -> model.Device:
    kind = next((name for name in MADE_BY if name in own.settings.found), "loopback")
    number = 0
    of: tuple[str, ...] = ()
    for setting in own.settings.many(kind):
        members = setting.slots.get("of", setting.value if kind == "bond" else ())
        if kind == "vlan":
            of = (str(setting.slots["on"]),)
        elif isinstance(members, tuple):
            of = tuple(map(str, members))
        if isinstance(setting.value, int) and not isinstance(setting.value, bool):
            number = setting.value
    return model.Device(
        own.node.name,
        own.name,
        kind,
        of,
        number,
        tuple(own.addresses),
        own.mac(draft.name),
        own.mtu,
        own.settings.value("state", str) != "down",
        own.range,
        *_bonded(own),
    )


def _bonded(own: EndDraft) -> tuple[str, int, str]:
    """A bond's mode, how often it looks at its parts, and the one that it prefers."""
    for setting in own.settings.many("bond"):
        block = setting.block if setting.block is not None else Settings()
        mode = block.value("mode", str) or "active-backup"
        return mode, block.value("miimon", int) or 100_000, block.value("primary", str) or ""
    return "", 0, ""


# Links


def _link(draft: Draft, link: LinkDraft, ports: PortPass) -> model.Link:
    return model.Link(
        _interface(draft, link, link.left, ports),
        _interface(draft, link, link.right, ports),
        _impairment(link.settings, link.forth),
        _impairment(link.settings, link.back),
        link.range,
    )


def _interface(draft: Draft, link: LinkDraft, end: EndDraft, ports: PortPass) -> model.Interface:
    state = end.settings.value("state", str) or link.settings.value("state", str)
    return model.Interface(
        end.node.name,
        end.name,
        tuple(end.addresses),
        end.mac(draft.name),
        end.mtu,
        end.range,
        state != "down",
        ports.of(link, end),
    )


_IMPAIRED_BY = ("rate", "burst", "delay", "jitter", "loss", "duplicate", "corrupt", "reorder")


_IMPAIRED = frozenset(_IMPAIRED_BY)
_UNIMPAIRED = model.Impairment(*(0 for _ in _IMPAIRED_BY))


def _impairment(both: Settings, way: Settings) -> model.Impairment:
    """What a direction says of itself, else what the link says of both."""
    if _IMPAIRED.isdisjoint(way.found) and _IMPAIRED.isdisjoint(both.found):
        return _UNIMPAIRED
    values: list[int] = []
    for name in _IMPAIRED_BY:
        own = way.value(name, int)
        values.append(own if own is not None else both.value(name, int) or 0)
    return model.Impairment(*values)


def _overlay(overlay: OverlayDraft, ports: PortPass) -> model.Overlay:
    settings = overlay.settings
    vteps = tuple(
        model.Vtep(
            v.place.name if v.place is not None else None,
            v.end.name if v.end is not None else v.outside,
            v.address,
            v.bridge.name,
            v.range,
        )
        for v in overlay.vteps
        if v.address is not None
    )
    groups = settings.addresses("group")
    learning = settings.value("learning", bool)
    return model.Overlay(
        overlay.name,
        settings.value("vni", int) or 0,
        settings.value("port", int) or DEFAULT_VXLAN_PORT,
        overlay.mtu,
        vteps,
        tuple(s.value for s in settings.addresses("remote")),
        overlay.range,
        groups[0].value if groups else None,
        learning if learning is not None else True,
        settings.value("ttl", int) or 0,
        _tos(settings),
        *ports.of_overlay(overlay),
    )


def _tos(settings: Settings) -> int:
    """The byte; 1 is how the kernel says `inherit` (and, as a byte, no traffic class at all)."""
    values = [setting.value for setting in settings.many("tos")]
    return next((value if isinstance(value, int) else 1 for value in values), 0)


# What no resource stands for


def _unrealized(draft: Draft) -> Iterator[model.Unrealized]:
    """What the lab asks for that this version only checks: machines other than this one."""
    for node in draft.nodes.values():
        if not node.is_module and node.machine is not None:
            yield model.Unrealized(node.name, f"on {node.machine}", node.range)
