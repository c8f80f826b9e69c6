"""Pass 6b: gives each tunnel end the address that it sends from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.draft import Draft, OverlayDraft, VtepDraft


def address_tunnels(draft: Draft, diagnostics: Diagnostics) -> None:
    """The first IPv4 address of the underlay's interface, else its first IPv6 one; one family an overlay.

    A tunnel end at the machine's own interface for which none is written sends from whichever the machine chooses.
    """
    for overlay in draft.overlays:
        for vtep in overlay.vteps:
            if vtep.end is None:
                _at_machine(overlay, vtep, diagnostics)
                continue
            addresses = sorted(vtep.end.addresses, key=lambda a: a.version)
            if addresses:
                vtep.address = addresses[0].ip
            else:
                diagnostics.add(
                    "E0502",
                    f"`{vtep.end.full_name}` has no address for the tunnel",
                    vtep.range,
                    "this tunnel end",
                    others=[Label(vtep.end.range, "the interface")],
                    help="give it one, or a `subnet` to its link",
                )
        _one_family(overlay, diagnostics)
        _groups(overlay, diagnostics)


def _at_machine(overlay: OverlayDraft, vtep: VtepDraft, diagnostics: Diagnostics) -> None:
    """Who is at the other end the lab does not know, so it has to be told."""
    others = [*overlay.settings.addresses("remote"), *overlay.settings.addresses("group")]
    if vtep.address is None:
        version = others[0].value.version if others else 4
        vtep.address = IPv4Address(0) if version == 4 else IPv6Address(0)
    if not others:
        diagnostics.add(
            "E0509",
            f"nothing is at the other end of overlay `{overlay.name}`",
            vtep.range,
            f"at {vtep.outside} of this machine",
            help="say which address the other machine has: `remote ADDRESS` in the overlay's block",
        )
    beside = next((other for other in overlay.vteps if other.end is not None), None)
    if beside is not None:
        diagnostics.add(
            "E0509",
            f"overlay `{overlay.name}` has ends at this machine's interface and inside the lab",
            vtep.range,
            f"at {vtep.outside} of this machine",
            others=[Label(beside.range, "in the lab's own network, which the machine's has no way to")],
            help="give each an overlay of its own, and link the bridges",
        )


def _one_family(overlay: OverlayDraft, diagnostics: Diagnostics) -> None:
    addressed = [v for v in overlay.vteps if v.address is not None]
    if not addressed:
        return
    first = addressed[0]
    assert first.address is not None
    for vtep in addressed[1:]:
        if _version(vtep) != _version(first):
            diagnostics.add(
                "E0503",
                f"the ends of overlay `{overlay.name}` speak different protocols",
                vtep.range,
                f"IPv{_version(vtep)}",
                others=[Label(first.range, f"IPv{_version(first)}")],
            )
    for remote in (*overlay.settings.addresses("remote"), *overlay.settings.addresses("group")):
        if remote.value.version != _version(first):
            diagnostics.add(
                "E0503",
                f"the ends of overlay `{overlay.name}` speak different protocols",
                remote.range,
                f"IPv{remote.value.version}",
                others=[Label(first.range, f"IPv{_version(first)}")],
            )


def _groups(overlay: OverlayDraft, diagnostics: Diagnostics) -> None:
    for group in overlay.settings.addresses("group"):
        if not group.value.is_multicast:
            example = "239.1.1.1" if group.value.version == 4 else "ff05::1"
            message = f"{group.value} is no multicast group"
            diagnostics.add("E0508", message, group.range, f"one such as {example}")
        for vtep in overlay.vteps:
            if vtep.end is not None and vtep.end.peer is None:
                diagnostics.add(
                    "E0508",
                    f"a group is joined at a link, and `{vtep.end.full_name}` is none",
                    vtep.range,
                    "this tunnel end",
                    others=[Label(group.range, "the group")],
                    help="leave the group out: each end then sends to all others",
                )
    for remote in overlay.settings.addresses("remote"):
        if remote.value.is_multicast:
            message = f"{remote.value} is a multicast group, not a tunnel end"
            diagnostics.add(
                "E0508", message, remote.range, "many may hear it", help=f"write `group {remote.value}`"
            )


def _version(vtep: VtepDraft) -> int:
    assert vtep.address is not None
    return vtep.address.version
