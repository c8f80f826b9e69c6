"""The attributes in netlink messages (netlink(7)): what the kernel says, taken apart."""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet

from vtopo.backends.messages import NLA_TYPE

_ATTRIBUTE = struct.Struct("=HH")


def attributes(
    data: bytes,
    at: int,
    end: int,
    wanted: AbstractSet[int] | None = None,
    located: AbstractSet[int] = frozenset(),
    places: list[int] | None = None,
) -> dict[int, bytes]:
    """The attributes in a stretch of a message, by type; of many, those that are `wanted`.

    Of those that are not wanted but `located`, `places` gets where in the data their values begin and end.
    """
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    while at + 4 <= end:
        size, kind = unpack(data, at)
        if size < 4:
            break
        kind &= NLA_TYPE
        if wanted is None or kind in wanted:
            found[kind] = data[at + 4 : at + size]
        elif kind in located and places is not None:
            places += at + 4, at + size
        at += (size + 3) & ~3
    return found
