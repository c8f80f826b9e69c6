"""The attributes in netlink messages (netlink(7)): what the kernel says, taken apart."""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from vtopo.backends.messages import NLA_TYPE

_ATTRIBUTE = struct.Struct("=HH")


def attributes(data: bytes, at: int, end: int, wanted: AbstractSet[int] | None = None) -> dict[int, bytes]:
    """The attributes in a stretch of a message, by type; of many, those that are `wanted`."""
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    while at + 4 <= end:
        size, kind = unpack(data, at)
        if size < 4:
            break
        kind &= NLA_TYPE
        if wanted is None or kind in wanted:
            found[kind] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found


class Layouts:
    """Takes messages apart of which many are laid out alike, as in the dumps of a lab's namespaces.

    All headers of a layout that is known are read by one call. If they are the same, each attribute is where it was.
    """

    def __init__(self, skip: int, wanted: AbstractSet[int]) -> None:
        """Attributes begin after `skip` bytes of a payload; of many, some are `wanted`."""
        self._skip, self._wanted = skip, wanted
        self._known: dict[int, _Layout] = {}

    def read(self, data: bytes, at: int, end: int) -> dict[int, bytes]:
        """The wanted attributes of a payload by type, as `attributes` finds them."""
        layout = self._known.get(end - at)
        if layout is None or layout.headers.unpack_from(data, at) != layout.expected:
            layout = self._known[end - at] = self._laid_out(data, at, end)
        return {kind: data[at + first : at + last] for kind, first, last in layout.wanted}

    def _laid_out(self, data: bytes, start: int, end: int) -> _Layout:
        headers, expected = [f"={self._skip}x"], list[int]()
        wanted: list[tuple[int, int, int]] = []
        at = start + self._skip
        while at + 4 <= end:
            size, kind = _ATTRIBUTE.unpack_from(data, at)
            expected += size, kind
            if size < 4:  # it ends the attributes
                headers.append("HH")
                break
            if kind & NLA_TYPE in self._wanted:
                wanted.append((kind & NLA_TYPE, at + 4 - start, at + size - start))
            following = at + ((size + 3) & ~3)
            headers.append(f"HH{max(min(following, end) - at - 4, 0)}x")
            at = following
        return _Layout(struct.Struct("".join(headers)), tuple(expected), tuple(wanted))


class _Layout(NamedTuple):
    headers: struct.Struct
    expected: tuple[int, ...]
    wanted: tuple[tuple[int, int, int], ...]
