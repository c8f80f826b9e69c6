"""Whether a network namespace is still what it was when nothing in it differed from the records, told by digests.

To take the dumps of a namespace apart costs more than to have the kernel write them. Where they are byte for byte what
they were, but for what changes by itself, all that was found in them then is still to be found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from vtopo.backends import messages as m
from vtopo.backends.base import Handle
from vtopo.backends.netlink_socket import NetlinkSocket, Part
from vtopo.backends.syscalls import CLONE_NEWNET, setns
from vtopo.digests import sha256
from vtopo.values import dataclass

_HEADER = 16  # bytes of a message before its payload; its length and its type are the first six


CLOCKS = frozenset((m.IFLA_STATS, m.IFLA_STATS64, m.IFLA_OPERSTATE, m.IFLA_AF_SPEC))
"""Of a link, what changes by itself, and what nobody here goes by: counters; its operational state, which the kernel
comes round to up to a second after the fact; and of IPv6 times, one of which the kernel draws anew now and then."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """What the answer to a request for all of something was, as a digest.

    `request` is the type of the request (RTM_GETLINK, say). `cuts` has for each message where in its payload what is no
    part of the digest begins and ends, and begins and ends again; it is empty where nothing is cut out.
    """

    request: int
    cuts: tuple[tuple[int, ...], ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Look:
    """A namespace in which all was as recorded: its dumps, and the ids of what is told by them.

    `pairs` have an end here and another somewhere, which may be here, too; then they are named twice.
    """

    dumps: tuple[Dumped, ...]
    single: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


def dumped(request: int, parts: Sequence[Part], clocks: Sequence[Sequence[int]] = ()) -> Dumped:
    """A dump to be recognised; `parts` are its messages, and of links `clocks` tells where the CLOCKS of each are."""
    there = zip(clocks, parts, strict=True) if clocks else ()
    cuts = tuple(tuple(at - start for at in bounds) for bounds, (_, start, _) in there)
    return Dumped(request, cuts, _digest(parts, cuts))


def _digest(parts: Sequence[Part], cuts: Sequence[Sequence[int]]) -> bytes:
    """Of all that is not cut out. A cut hides no header: where all else is the same, it is where it was, too."""
    kept: list[bytes] = []
    for (data, start, end), bounds in zip(parts, cuts or ((),) * len(parts), strict=True):
        kept.append(data[start - _HEADER : start - _HEADER + 6])
        at = start
        for first, last in zip(bounds[::2], bounds[1::2], strict=True):
            kept.append(data[at : start + first])
            at = start + last
        kept.append(data[at:end])
    return sha256(b"".join(kept)).digest()


def is_same(was: Dumped, parts: Sequence[Part]) -> bool:
    """Whether a dump is what it was."""
    return len(parts) == (len(was.cuts) or len(parts)) and _digest(parts, was.cuts) == was.digest


def is_clear(seen: Collection[Dumped | None]) -> bool:
    """Whether all looks at a namespace saw the same; None is one that went by what cannot be recognised."""
    requests = [dump.request for dump in seen if dump is not None]
    return len(requests) == len(seen) == len(set(requests))


def altered(looks: Mapping[str, Look], handles: Mapping[str, Handle]) -> set[str]:
    """The namespaces, by the ids of the hosts that have them, that are not as they were. Moves the calling thread."""
    return {place for place, look in looks.items() if not _is_as(look.dumps, handles.get(place))}


def _is_as(dumps: Iterable[Dumped], handle: Handle | None) -> bool:
    if handle is None or handle.pid is None:
        return False
    try:
        # Whether the host itself lives is asked elsewhere.
        namespace = os.open(f"/proc/{handle.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(namespace).st_ino != handle.inode:
                return False
            setns(namespace, CLONE_NEWNET)
        finally:
            os.close(namespace)
        sock = NetlinkSocket()
        try:
            return all(is_same(was, sock.dump(m.dump_request(was.request))) for was in dumps)
        finally:
            sock.close()
    except OSError:  # it is gone, and all in it
        return False


def to_text(looks: Mapping[str, Look]) -> str:
    """Looks by their namespaces, as one line of JSON."""
    return _encode(
        {
            place: [[[d.request, d.cuts, d.digest.hex()] for d in look.dumps], look.single, look.pairs]
            for place, look in looks.items()
        }
    )


NO_LOOKS = "{}"
"""The text of none."""
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def from_text(text: str) -> dict[str, Look]:
    """What `to_text` was given."""
    return {
        place: Look(tuple(map(_dumped, dumps)), tuple(single), tuple(pairs))
        for place, (dumps, single, pairs) in json.loads(text).items()
    }


def _dumped(told: tuple[int, list[list[int]], str]) -> Dumped:
    request, cuts, digest = told
    return Dumped(request, tuple(map(tuple, cuts)), bytes.fromhex(digest))


def merged(old: str, gone: Collection[str], fresh: str, touched: Collection[str]) -> str:
    """The text of old looks, but for those that are `gone`, and of fresh ones, both without those that were touched."""
    found = {place: look for place, look in json.loads(old).items() if place not in gone} | json.loads(fresh)
    return _encode({place: look for place, look in found.items() if place not in touched})


def covered(looks: Mapping[str, Look]) -> set[str]:
    """The ids of what the looks tell everything of."""
    found: set[str] = set()
    once: set[str] = set()
    for look in looks.values():
        found.update(look.single)
        for pair in look.pairs:
            (found if pair in once else once).add(pair)
    return found


def told_of(looks: Mapping[str, Look], places: Iterable[str]) -> set[str]:
    """The ids of what some of the looks tell anything of."""
    return {id_ for place in places for id_ in (*looks[place].single, *looks[place].pairs)}
