"""Impairments as the bytes of requests, beside those that tc(8) and pyroute2 write."""

from __future__ import annotations

import struct

import pytest

from vtopo.backends import messages as m
from vtopo.backends import traffic
from vtopo.compile.resources import Impairment
from vtopo.compile.traffic import impairment
from vtopo.model import lab as model

# strace of: tc qdisc add dev v0 root handle 7675: netem limit 100000 delay 20ms loss 0.5% duplicate 1% corrupt 2%
# reorder 25% (iproute2 6.1)
TC_NETEM = bytes.fromhex(
    "b4c40400" "a0860100" "14ae4701" "01000000" "295c8f02" "00000000"
    "0c000300" "00000040" "00000000"
    "0c000400" "52b81e05" "00000000"
)  # fmt: skip
ALL = Impairment(delay=20_000, loss=5_000, duplicate=10_000, corrupt=20_000, reorder=250_000)


def decoded(request: bytes) -> dict[str, object]:
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    message = tcmsg(request)
    message.decode()
    return {
        "type": message["header"]["type"],
        "flags": message["header"]["flags"],
        "index": message["index"],
        "handle": message["handle"],
        "parent": message["parent"],
        "kind": message.get_attr("TCA_KIND"),
        "options": message.get_attr("TCA_OPTIONS"),
    }


def test_netem_is_asked_for_as_tc_does() -> None:
    (request,) = traffic.qdiscs(7, ALL)
    said = decoded(request)
    assert (said["type"], said["index"], said["kind"]) == (m.RTM_NEWQDISC, 7, "netem")
    assert (said["handle"], said["parent"]) == (0x76750000, 0xFFFFFFFF)
    assert said["flags"] == m.NLM_F_REQUEST | m.NLM_F_ACK | m.NLM_F_CREATE | m.NLM_F_REPLACE
    start = request.index(TC_NETEM[:24])
    ours = request[start:]
    assert ours[: len(TC_NETEM)] == TC_NETEM
    # Behind it, what tc leaves out where the ticks are exact: the delay and the jitter in ns.
    assert ours[len(TC_NETEM) :] == struct.pack("=HHqHHq", 12, 10, 20_000_000, 12, 11, 0)


def test_a_jitter_has_a_normal_distribution() -> None:
    (request,) = traffic.qdiscs(7, Impairment(delay=20_000, jitter=2_000))
    table = struct.unpack("=1024h", request[-2048:])
    assert abs(sum(table)) <= 1
    assert table == tuple(sorted(table))
    within = sum(-8192 <= value <= 8192 for value in table) / len(table)
    assert within == pytest.approx(0.6827, abs=0.002)  # of one standard deviation, NETEM_DIST_SCALE


def test_a_rate_alone_is_a_token_bucket() -> None:
    (request,) = traffic.qdiscs(7, Impairment(rate=10_000_000, burst=12_500))
    said = decoded(request)
    assert (said["kind"], said["handle"], said["parent"]) == ("tbf", 0x76740000, 0xFFFFFFFF)
    assert traffic.told(request, 16, len(request)) == ("tbf", {"rate": 10_000_000, "burst": 12_500})


def test_a_rate_above_four_gigabytes_a_second_has_64_bits() -> None:
    (request,) = traffic.qdiscs(7, Impairment(rate=100_000_000_000, burst=125_000_000))
    assert traffic.told(request, 16, len(request)) == ("tbf", {"rate": 100_000_000_000, "burst": 125_000_000})


def test_a_rate_with_a_delay_is_a_bucket_inside_netem() -> None:
    outer, inner = map(decoded, traffic.qdiscs(7, Impairment(rate=8000, burst=1518, delay=1)))
    assert (outer["kind"], outer["handle"], outer["parent"]) == ("netem", 0x76750000, 0xFFFFFFFF)
    assert (inner["kind"], inner["handle"], inner["parent"]) == ("tbf", 0x76760000, 0x76750001)


def test_a_change_takes_away_what_is_no_longer_asked_for() -> None:
    rate, late = Impairment(rate=8000, burst=1518), Impairment(delay=5)
    both = Impairment(rate=8000, burst=1518, delay=5)
    kinds = {
        (old, new): [(r["type"], r["kind"], r["parent"]) for r in map(decoded, traffic.changes(3, old, new))]
        for old in (None, rate, late, both)
        for new in (None, rate, late, both)
        if old != new
    }
    gone, new, root = m.RTM_DELQDISC, m.RTM_NEWQDISC, 0xFFFFFFFF
    for old in (rate, late, both):
        assert kinds[old, None] == [(gone, None, root)]
    for old in (None, late, both):
        assert kinds[old, rate] == [(new, "tbf", root)]
    for old in (None, rate):
        assert kinds[old, late] == [(new, "netem", root)]
    assert kinds[both, late] == [(new, "netem", root), (gone, None, 0x76750001)]
    for old in (None, rate, late):
        assert kinds[old, both] == [(new, "netem", root), (new, "tbf", 0x76750001)]


@pytest.mark.parametrize(
    "asked",
    [ALL, Impairment(delay=123_457, jitter=1), Impairment(loss=1), Impairment(loss=1_000_000)],
)
def test_what_is_asked_for_is_what_is_read_back(asked: Impairment) -> None:
    (request,) = traffic.qdiscs(7, asked)
    told = traffic.told(request, 16, len(request))
    assert told is not None
    assert Impairment(**told[1]) == asked


def test_a_burst_that_the_kernel_rounded_is_no_drift() -> None:
    rate = 10_000_000_000  # 80 bytes in one of the kernel's ticks
    wanted = Impairment(rate=rate, burst=12_500_000)
    near, far = Impairment(rate=rate, burst=12_499_950), Impairment(rate=rate, burst=12_400_000)
    assert traffic.as_wanted(near, wanted) is wanted
    assert traffic.as_wanted(far, wanted) is far
    assert traffic.as_wanted(None, wanted) is None
    assert traffic.as_wanted(near, None) is near


def test_in_words() -> None:
    assert str(Impairment(rate=1_500_000, burst=1518)) == "rate 1500kbit burst 1518B"
    assert str(ALL) == "delay 20ms loss 0.5% duplicate 1% corrupt 2% reorder 25%"
    assert str(Impairment(delay=1_500, jitter=2_000_000)) == "delay 1500us jitter 2s"


def test_a_burst_holds_a_frame_at_least() -> None:
    assert impairment(model.Impairment(), 1500) is None
    assert impairment(model.Impairment(rate=10_000_000), 1500) == Impairment(rate=10_000_000, burst=12_500)
    assert impairment(model.Impairment(rate=8_000, burst=100), 9000) == Impairment(rate=8_000, burst=9018)
    assert impairment(model.Impairment(rate=1_001), 1500) == Impairment(rate=1_000, burst=1518)
