"""Pass 6b: gives each tunnel end the address that it sends from."""

from __future__ import annotations

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.draft import Draft, OverlayDraft, VtepDraft


def address_tunnels(draft: Draft, diagnostics: Diagnostics) -> None:
    """The first IPv4 address of the underlay's interface, else its first IPv6 one; one family an overlay."""
    for overlay in draft.overlays:
        for vtep in overlay.vteps:
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
            if vtep.end.peer is None:
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
