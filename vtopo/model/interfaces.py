"""Pass 3: names every interface; written names first in the whole lab, then the lowest free ethN."""

from __future__ import annotations

import itertools

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model.draft import Draft, EndDraft

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
    taken: dict[tuple[str, str], EndDraft] = {}
    ends = [end for link in draft.links for end in link.ends]
    for end in ends:
        if end.port is None:
            continue
        end.name = end.port.text
        check_device_name(end.name, end.port.range, diagnostics)
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
    free: dict[str, itertools.count[int]] = {}
    for end in ends:
        if end.port is None:
            end.name = _lowest_free(end, free, taken, draft)
            taken[end.node.name, end.name] = end
        end.node.ends.append(end)


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
