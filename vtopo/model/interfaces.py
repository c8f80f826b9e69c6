"""Pass 3: names every interface; written names first in the whole lab, then the lowest free ethN."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model.draft import Draft, EndDraft, NodeDraft
from vtopo.model.properties import Settings

LONGEST_DEVICE = 15
"""Bytes of an interface's name (IFNAMSIZ - 1, netdevice(7))."""

_TAKEN = {
    "lo": "it is the loopback's",
    "all": "a sysctl directory has it",
    "default": "a sysctl directory has it",
}


def check_device_name(name: str, place: Range, diagnostics: Diagnostics, why: str = "") -> bool:
    """Whether the kernel takes `name` for an interface; says what is wrong with it otherwise."""
    length = len(name.encode())
    if length > LONGEST_DEVICE:
        diagnostics.add(
            "E0304",
            f"the interface name `{name}` is too long",
            place,
            f"{length} bytes, and the kernel takes {LONGEST_DEVICE}",
            help=why,
        )
        return False
    bad = "it is empty" if not name else _TAKEN.get(name, "")
    if name in {".", ".."} or any(c in "/:%" or c.isspace() or not c.isprintable() for c in name):
        bad = "it has a character that the kernel refuses"
    if bad:
        diagnostics.add("E0308", f"an interface cannot be named `{name}`", place, bad)
    return not bad


def name_interfaces(draft: Draft, diagnostics: Diagnostics) -> None:
    """Give each end its name; an interface that is used twice is reported with both places."""
    diagnostics.via = None
    taken: dict[tuple[str, str], EndDraft] = {}
    ends = [end for link in draft.links for end in link.ends]
    for end in ends:
        if end.port is None:
            continue
        diagnostics.via = end.node.via
        end.name = end.port.text
        check_device_name(end.name, end.port.range, diagnostics)
        if end.name == DOCKERS and has_dockers(end.node):
            place = end.node.settings.many("network")[0].range
            _used_twice(end, [Label(place, "Docker's bridge has it")], diagnostics)
        nested = draft.nodes.get(f"{end.node.name}.{end.name}")
        if nested is not None:
            diagnostics.add(
                "E0305",
                f"`{end.full_name}` has the name of a node behind `{end.node.name}`",
                end.port.range,
                "the interface",
                others=[Label(nested.range, "the node")],
            )
        earlier = taken.setdefault((end.node.name, end.name), end)
        if earlier is not end:
            others = [Label(earlier.port.range, "first used here")] if earlier.port is not None else []
            _used_twice(end, others, diagnostics)
    _declare_own(draft, taken, diagnostics)
    free = {node.name: itertools.count(1) for node in draft.nodes.values() if has_dockers(node)}
    for end in ends:
        if end.port is None:
            end.name = _lowest_free(end, free, taken, draft)
            taken[end.node.name, end.name] = end
        end.node.ends.append(end)
    _plug_own(draft, taken, diagnostics)


DOCKERS = "eth0"
"""The interface that Docker's bridge gives to a container."""


def has_dockers(node: NodeDraft) -> bool:
    """Whether a node is a container on Docker's bridge."""
    return any(setting.slots.get("mode") == "bridge" for setting in node.settings.many("network"))


MADE_BY = ("vlan", "bond", "vrf", "dummy")
"""The properties of an `interface` that make one."""


def _declare_own(draft: Draft, taken: dict[tuple[str, str], EndDraft], diagnostics: Diagnostics) -> None:
    """The interfaces that nodes make by themselves have names of their own."""
    for node in draft.nodes.values():
        diagnostics.via = node.via
        for setting in node.settings.texts("interface") if not node.is_bridge else ():
            block = setting.block if setting.block is not None else Settings()
            made = [name for name in MADE_BY if name in block.found]
            if len(made) > 1:
                second = block.found[made[1]][0]
                diagnostics.add(
                    "E0205", "an interface is made in one way", second.range, f"`{made[0]}` and `{made[1]}`"
                )
            if not made and setting.value != "lo":
                continue
            if setting.value != "lo":
                check_device_name(setting.value, setting.range, diagnostics)
            numbered = "vlan" in made or "bond" in made
            own = EndDraft(
                node, None, block.interfaces("address"), [], numbered, block, setting.range, setting.value
            )
            earlier = taken.setdefault((node.name, setting.value), own)
            if earlier is not own:
                diagnostics.add(
                    "E0305",
                    f"the interface `{own.full_name}` is made twice",
                    setting.range,
                    "made again here",
                    others=[Label(earlier.range, "there is one already")]
                    if earlier.range != own.range
                    else [],
                )
                continue
            node.ends.append(own)


def _plug_own(draft: Draft, taken: dict[tuple[str, str], EndDraft], diagnostics: Diagnostics) -> None:
    """More addresses of interfaces that links make, and what own interfaces are made on."""
    nested: dict[NodeDraft, set[str]] = {}
    for bridge in draft.nodes.values():
        if bridge.kind == "bridge" and bridge.host is not None:
            nested.setdefault(bridge.host, set()).add(bridge.name.removeprefix(f"{bridge.host.name}."))
    for node in draft.nodes.values():
        diagnostics.via = node.via
        names = {end.name for end in node.ends}
        names |= nested.get(node, set())
        below: dict[str, list[str]] = {}
        for setting in node.settings.texts("interface") if not node.is_bridge else ():
            block = setting.block if setting.block is not None else Settings()
            end = taken.get((node.name, setting.value))
            if end is None:
                diagnostics.add(
                    "E0303",
                    f"`{node.name}` has no interface `{setting.value}`",
                    setting.range,
                    "no link makes it",
                    help="say what it is: `vlan N on IFACE`, `bond [...]`, `vrf N [...]` or `dummy`",
                )
                continue
            if end.peer is not None:
                end.written += block.interfaces("address")
                for name in ("mac", "mtu", "state"):
                    if name in block.found:
                        end.settings.found[name] = block.found[name]
            for wanted, place in _made_on(block) if end.peer is None else ():
                below.setdefault(setting.value, []).append(wanted)
                if _leads_to(setting.value, wanted, below):
                    diagnostics.add(
                        "E0311", f"`{setting.value}` is made on itself", place, f"by way of `{wanted}`"
                    )
                if wanted not in names:
                    diagnostics.add(
                        "E0303",
                        f"`{node.name}` has no interface `{wanted}`",
                        place,
                        help=did_you_mean(wanted, names, f"it has {', '.join(sorted(names))}"),
                    )


def made_on(own: EndDraft) -> list[str]:
    """The names of the interfaces that one of a node's own is made on."""
    return [name for name, _ in _made_on(own.settings)]


def attached(node: NodeDraft) -> Mapping[str, tuple[EndDraft, str]]:
    """Of each interface that is part of a bond or a VRF, by its name: that, and which of both it is."""
    found: dict[str, tuple[EndDraft, str]] = {}
    for end in node.ends:
        for kind in ("bond", "vrf"):
            if end.peer is None and kind in end.settings.found:
                for name in made_on(end):
                    found.setdefault(name, (end, kind))
    return found


def vrf_of(node: NodeDraft, end: EndDraft) -> EndDraft | None:
    """The VRF whose table has the routes of an interface."""
    if "interface" not in node.settings.found:
        return None
    if end.peer is None and "vrf" in end.settings.found:
        return end
    master, kind = attached(node).get(end.name, (None, ""))
    return master if kind == "vrf" else None


def _leads_to(end: str, start: str, below: Mapping[str, Sequence[str]]) -> bool:
    """Whether the interface `start` is `end`, or made on it in however many steps."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            ahead += below.get(name, ())
    return False


def _made_on(block: Settings) -> list[tuple[str, Range]]:
    found: list[tuple[str, Range]] = []
    for name in ("bond", "vrf"):
        for setting in block.many(name):
            members = setting.slots.get("of", setting.value)
            found += [(str(m), setting.range) for m in members] if isinstance(members, tuple) else []
    for setting in block.many("vlan"):
        found.append((str(setting.slots["on"]), setting.range))
    return found


def _used_twice(end: EndDraft, others: list[Label], diagnostics: Diagnostics) -> None:
    assert end.port is not None
    same = bool(others) and others[0].range == end.port.range
    diagnostics.add(
        "E0305",
        f"the interface `{end.full_name}` is used twice",
        end.port.range,
        "by every link that this makes" if same else "used again here",
        others=[] if same else others,
        help="an interface is the end of one link; leave the name out to get the next free one",
    )


def _lowest_free(
    end: EndDraft,
    free: dict[str, itertools.count[int]],
    taken: dict[tuple[str, str], EndDraft],
    draft: Draft,
) -> str:
    for number in free.setdefault(end.node.name, itertools.count()):
        name = f"eth{number}"
        if (end.node.name, name) not in taken and f"{end.node.name}.{name}" not in draft.nodes:
            return name
    raise AssertionError("counting ends")
