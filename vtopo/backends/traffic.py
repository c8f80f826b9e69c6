"""Queueing disciplines: impairments as requests to the kernel, and what the kernel has as impairments.

A rate is a token bucket (tc-tbf(8)): exact, with a burst, and in every kernel. All else is netem (tc-netem(8)). Both
together are netem with the bucket inside: packets are late, lost and so on first, then pass at the rate. netem has a
rate of its own, but that knows no burst, and its queue counts packets, those under way among them: at 10 Mbit/s its
usual 1000 would be over a second of waiting.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from vtopo.backends.attributes import attributes
from vtopo.backends.messages import (
    CHANGE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    REPLACE,
    RTM_DELQDISC,
    RTM_GETQDISC,
    RTM_NEWQDISC,
    attribute,
    message,
    u32,
)
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.compile.resources import Impairment

KINDS = frozenset({"tbf", "netem"})
"""The kinds of root qdiscs that impair."""

TCA_KIND, TCA_OPTIONS = 1, 2
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_NETEM_DELAY_DIST, _NETEM_REORDER, _NETEM_CORRUPT = 2, 3, 4
_NETEM_LATENCY64, _NETEM_JITTER64 = 10, 11
_LINKLAYER_ETHERNET = 1

TCMSG = struct.Struct("=BxxxiIII")
_RATE = "BBHhHI"  # struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, bytes a second
_TBF = struct.Struct(f"={_RATE}{_RATE}III")  # struct tc_tbf_qopt: rate, peak rate, limit, buffer, mtu
_NETEM = struct.Struct("=IIIIII")  # struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
_PAIR = struct.Struct("=II")  # probability, correlation

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_BUCKET, _NETEM_HANDLE, _INNER_BUCKET = 0x76740000, 0x76750000, 0x76760000
"""What ours are named by, after the mark of links: `tc qdisc` shows 7674:, 7675: and 7676:."""

_TICK = 64  # ns, PSCHED_SHIFT of net/pkt_sched.h
_WAIT = 20  # what waits for its turn at a rate is at most a part of a second of it, a 20th: 50 ms
_LEAST_WAITING = 4 * 1518
_UNDER_WAY = 100_000  # packets that netem holds: 100 ms of 10 Gbit/s in full frames
_SURE = 0xFFFFFFFF  # netem's probability of 1
_QUANTILES = 1024


def qdiscs(index: int, impairment: Impairment | None) -> list[bytes]:
    """The requests that give an interface an impairment, whatever it has now; the same again changes in place."""
    if impairment is None:
        return [_delete(index)]
    if not impairment.needs_netem:
        return [_tbf(index, impairment, ROOT, _BUCKET)]
    outer = _netem(index, impairment)
    return [outer, _tbf(index, impairment, _NETEM_HANDLE | 1, _INNER_BUCKET)] if impairment.rate else [outer]


def changes(index: int, old: Impairment | None, new: Impairment | None) -> list[bytes]:
    """The requests that lead from one impairment to another: what stays keeps its packets."""
    both = old is not None and new is not None and old.needs_netem and new.needs_netem
    requests = qdiscs(index, new)
    if both and old is not None and old.rate and new is not None and not new.rate:
        requests.append(_delete(index, _NETEM_HANDLE | 1, _INNER_BUCKET))
    return requests


def _delete(index: int, parent: int = ROOT, handle: int = 0) -> bytes:
    return message(RTM_DELQDISC, CHANGE, TCMSG.pack(0, index, handle, parent, 0))


def _qdisc(index: int, kind: str, handle: int, parent: int, options: bytes) -> bytes:
    payload = TCMSG.pack(0, index, handle, parent, 0)
    payload += attribute(TCA_KIND, kind.encode() + b"\0") + attribute(TCA_OPTIONS, options)
    return message(RTM_NEWQDISC, REPLACE, payload)


def _tbf(index: int, r: Impairment, parent: int, handle: int) -> bytes:
    rate = r.rate // 8
    limit = min(r.burst + max(rate // _WAIT, _LEAST_WAITING), 0xFFFFFFFF)
    parms = _TBF.pack(
        *(0, _LINKLAYER_ETHERNET, 0, 0, 0, min(rate, 0xFFFFFFFF)),
        *(0, 0, 0, 0, 0, 0),
        *(limit, 0, 0),
    )
    options = attribute(_TBF_PARMS, parms) + u32(_TBF_BURST, r.burst)
    if rate > 0xFFFFFFFF:
        options += attribute(_TBF_RATE64, struct.pack("=Q", rate))
    return _qdisc(index, "tbf", handle, parent, options)


def _netem(index: int, r: Impairment) -> bytes:
    options = _NETEM.pack(
        min(r.delay * 1000 // _TICK, 0xFFFFFFFF),
        _UNDER_WAY,
        _probability(r.loss),
        1 if r.reorder else 0,
        _probability(r.duplicate),
        min(r.jitter * 1000 // _TICK, 0xFFFFFFFF),
    )
    # What is left out of a change stays as it was, so all is said; old kernels know only the ticks above.
    options += attribute(_NETEM_REORDER, _PAIR.pack(_probability(r.reorder), 0))
    options += attribute(_NETEM_CORRUPT, _PAIR.pack(_probability(r.corrupt), 0))
    options += attribute(_NETEM_LATENCY64, struct.pack("=q", r.delay * 1000))
    options += attribute(_NETEM_JITTER64, struct.pack("=q", r.jitter * 1000))
    if r.jitter:
        options += attribute(_NETEM_DELAY_DIST, _normal())
    return _qdisc(index, "netem", _NETEM_HANDLE, ROOT, options)


def _probability(millionths: int) -> int:
    return round(millionths * _SURE / 1_000_000)


@cache
def _normal() -> bytes:
    """The quantiles of the normal distribution, scaled by NETEM_DIST_SCALE: netem picks one of them at random."""
    from statistics import NormalDist

    normal = NormalDist(0, 8192)
    values = (round(normal.inv_cdf((i + 0.5) / _QUANTILES)) for i in range(_QUANTILES))
    return struct.pack(f"={_QUANTILES}h", *(max(-32768, min(32767, value)) for value in values))


# What the kernel has


def read(sock: NetlinkSocket) -> dict[int, Impairment]:
    """What the interfaces of a namespace do to what they send, by their index; those that do nothing are left out."""
    request = message(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, TCMSG.pack(0, 0, 0, 0, 0))
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for data, at, end in sock.dump(request):
        _, index, _, parent, _ = TCMSG.unpack_from(data, at)
        if parent != ROOT and parent & 0xFFFF0000 != _NETEM_HANDLE:
            continue
        if (seen := told(data, at, end)) is not None:
            found[index].update(seen[1])
    return {index: Impairment(**fields) for index, fields in found.items()}


def told(data: bytes, at: int, end: int) -> tuple[str, dict[str, int]] | None:
    """What a message about a qdisc says: its kind, and what of an impairment it does; None if it is another kind."""
    a = attributes(data, at + TCMSG.size, end)
    kind, options = a.get(TCA_KIND, b"").rstrip(b"\0"), a.get(TCA_OPTIONS, b"")
    if kind == b"tbf":
        return "tbf", dict(_of_tbf(options))
    return ("netem", dict(_of_netem(options))) if kind == b"netem" else None


def _of_tbf(options: bytes) -> Iterator[tuple[str, int]]:
    a = attributes(options, 0, len(options))
    parms = _TBF.unpack_from(a[_TBF_PARMS])
    rate = struct.unpack("=Q", a[_TBF_RATE64])[0] if _TBF_RATE64 in a else parms[5]
    yield "rate", rate * 8
    told_in_bytes = a.get(_TBF_BURST)  # in a request
    burst = struct.unpack("=I", told_in_bytes)[0] if told_in_bytes else round(parms[13] * _TICK * rate / 1e9)
    yield "burst", burst


def _of_netem(options: bytes) -> Iterator[tuple[str, int]]:
    latency, _, loss, _, duplicate, jitter = _NETEM.unpack_from(options)
    a = attributes(options, _NETEM.size, len(options))
    exact = [
        struct.unpack("=q", a[kind])[0] if kind in a else 0 for kind in (_NETEM_LATENCY64, _NETEM_JITTER64)
    ]
    yield "delay", (exact[0] or latency * _TICK) // 1000
    yield "jitter", (exact[1] or jitter * _TICK) // 1000
    yield "loss", _millionths(loss)
    yield "duplicate", _millionths(duplicate)
    for name, kind in (("reorder", _NETEM_REORDER), ("corrupt", _NETEM_CORRUPT)):
        if kind in a:
            yield name, _millionths(_PAIR.unpack_from(a[kind])[0])


def _millionths(probability: int) -> int:
    return round(probability * 1_000_000 / _SURE)


def as_wanted(seen: Impairment | None, wanted: Impairment | None) -> Impairment | None:
    """What was seen; as wanted, where only the burst differs by what the kernel rounds it: it keeps time, not bytes."""
    if seen is None or wanted is None or seen == wanted or seen.rate != wanted.rate:
        return wanted if seen == wanted else seen
    apart = abs(seen.burst - wanted.burst) * 8_000_000_000 // (seen.rate or 1)
    near = replace(seen, burst=wanted.burst)
    return wanted if near == wanted and apart <= 4 * _TICK else seen
