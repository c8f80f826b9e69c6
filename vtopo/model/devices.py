"""Pass 3b: what nodes make of their interfaces: bonds and routing domains that contradict nothing."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.draft import Draft, EndDraft, NodeDraft
from vtopo.model.interfaces import made_on
from vtopo.model.properties import Settings

_KERNELS = {253: "default", 254: "main", 255: "local"}
"""The tables that are there by themselves (rtnetlink(7))."""


def settle_devices(draft: Draft, diagnostics: Diagnostics) -> None:
    """Check the interfaces that nodes make; parts of a bond get no address, since the bond has it."""
    for node in draft.nodes.values():
        own = [end for end in node.ends if end.peer is None and end.name != "lo"]
        if own:
            diagnostics.via = node.via
            _network(node, own[0], diagnostics)
            _parts(node, own, diagnostics)
            for end in own:
                _vrf(end, diagnostics)
                _primary(end, diagnostics)
    diagnostics.via = None


def _network(node: NodeDraft, own: EndDraft, diagnostics: Diagnostics) -> None:
    """A container that has no network of its own would make it in somebody else's."""
    for setting in node.settings.many("network"):
        mode = setting.slots.get("mode")
        if mode == "host" or "of" in setting.slots or "container" in setting.slots:
            diagnostics.add(
                "E0217",
                f"`{node.name}` cannot make the interface `{own.name}`",
                own.range,
                "it would be in another's network",
                others=[Label(setting.range, "it has none of its own")],
            )


def _parts(node: NodeDraft, own: Sequence[EndDraft], diagnostics: Diagnostics) -> None:
    """An interface is part of one bond or VRF; a part of a bond has no address."""
    ends = {end.name: end for end in node.ends}
    owner: dict[str, EndDraft] = {}
    for master in own:
        kind = next((kind for kind in ("bond", "vrf") if kind in master.settings.found), None)
        for name in made_on(master) if kind is not None else ():
            first = owner.setdefault(name, master)
            if first is not master:
                diagnostics.add(
                    "E0217",
                    f"`{name}` is part of `{first.name}` and of `{master.name}`",
                    master.range,
                    "a second one",
                    others=[Label(first.range, "the first")],
                )
            part = ends.get(name)
            if kind != "bond" or part is None:
                continue
            part.numbered = False
            places = [*(s.range for s in part.written), *(s.range for s in part.bare)]
            for place in places[:1]:
                diagnostics.add(
                    "E0407",
                    "a part of a bond has no address",
                    place,
                    f"`{name}` is part of `{master.name}`",
                    others=[Label(master.range, "the bond")],
                    help=f"give it to the bond: `interface {master.name} {{ bond [...]; address … }}`",
                )


def _vrf(own: EndDraft, diagnostics: Diagnostics) -> None:
    for setting in own.settings.many("vrf"):
        if setting.value in _KERNELS:
            diagnostics.add(
                "E0217",
                f"table {setting.value} is not a VRF's own",
                setting.range,
                f"it is the node's {_KERNELS[int(str(setting.value))]} table",
                help="take another number, such as 10",
            )
        for name in ("mtu", "mac"):
            for given in own.settings.found.get(name, ())[:1]:
                diagnostics.add(
                    "E0217", f"a VRF has no `{name}`", given.range, "its interfaces have", help="leave it out"
                )


def _primary(own: EndDraft, diagnostics: Diagnostics) -> None:
    for setting in own.settings.many("bond"):
        block = setting.block if setting.block is not None else Settings()
        parts = made_on(own)
        if not parts:
            diagnostics.add(
                "E0217", f"the bond `{own.name}` is of nothing", setting.range, "name its interfaces"
            )
        for primary in block.texts("primary"):
            if primary.value not in parts:
                diagnostics.add(
                    "E0217",
                    f"`{primary.value}` is no part of `{own.name}`",
                    primary.range,
                    f"it has {', '.join(parts)}",
                )
            mode = block.value("mode", str) or "active-backup"
            if mode not in {"active-backup", "balance-tlb", "balance-alb"}:
                diagnostics.add(
                    "E0217", f"a bond in mode `{mode}` has no primary", primary.range, "it uses all of them"
                )
