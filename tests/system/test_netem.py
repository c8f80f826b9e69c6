"""Impairments proved by measuring: what netem and tbf do to packets on links of one lab, each way of each link.

This machine's kernel may have no netem; the Debian guest's has. Emulated, its clock halts now and then, so delays are
long, and medians and quartiles are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median, quantiles

import pytest
from cli import Vtopo
from machine import LAB_PREFIX
from netem import IN_DATA, Arrival, as_often, flow, needs_netem

pytestmark = [pytest.mark.debian, needs_netem]

IMPAIRED = {
    "late": "delay 200ms",
    "oneway": "-> { delay 150ms }",
    "uneven": "delay 200ms; jitter 20ms",
    "lossy": "-> { loss 10% }; <- { loss 1% }",
    "twice": "duplicate 5%",
    "turned": "corrupt 5%",
    "early": "delay 100ms; reorder 25%",
    "narrow": "delay 10ms; rate 2Mbit",
    "changed": "delay 100ms; loss 50%",
}
MANY = 2000


def address(link: str, node: str) -> str:
    return f"10.0.{list(IMPAIRED).index(link)}.{'ab'.index(node) + 1}"


def text(**changed: str) -> str:
    lines = ["host a; host b"]
    for link, impaired in (IMPAIRED | changed).items():
        ends = (f"{node}:{link} {address(link, node)}/24" for node in "ab")
        lines.append(f"link {' -- '.join(ends)} {{ {impaired} }}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vtopo]:
    """Two hosts with a link of each kind."""
    command = Vtopo(tmp_path_factory.mktemp("netem"), f"{LAB_PREFIX}-netem")
    try:
        command("up", command.write(text()))
        yield command
    finally:
        command.close()


def passing(
    pair: Vtopo, link: str, count: int, way: str = "ab", gap: float = 0.001, batch: int = 1
) -> list[Arrival]:
    sender, receiver = way
    return flow(pair.node(sender), pair.node(receiver), address(link, receiver), count, gap, batch)


def delay(pair: Vtopo, link: str, way: str = "ab") -> float:
    """The median, in milliseconds."""
    return 1000 * median(a.delay for a in passing(pair, link, 40, way, gap=0.01))


@pytest.mark.parametrize("way", ["ab", "ba"])
def test_a_delay_is_within_a_tenth_each_way(pair: Vtopo, way: str) -> None:
    assert delay(pair, "late", way) == pytest.approx(200, rel=0.1)


def test_a_delay_one_way_is_none_the_other(pair: Vtopo) -> None:
    assert delay(pair, "oneway", "ab") == pytest.approx(150, rel=0.1)
    assert delay(pair, "oneway", "ba") < 50


def test_jitter_is_the_deviation_of_a_normal_distribution(pair: Vtopo) -> None:
    late = [1000 * a.delay for a in passing(pair, "uneven", 1000)]
    low, middle, high = quantiles(late, n=4)
    assert len(late) == 1000
    assert middle == pytest.approx(200, rel=0.1)
    # A quarter of it is 0.674 deviations below, a quarter as much above.
    assert (high - low) / (2 * 0.6745) == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize(("way", "share"), [("ab", 0.1), ("ba", 0.01)])
def test_a_loss_is_within_its_confidence_interval_each_way(pair: Vtopo, way: str, share: float) -> None:
    assert as_often(MANY - len(passing(pair, "lossy", MANY, way, gap=0.0)), MANY, share)


def test_as_many_arrive_twice_as_the_lab_says(pair: Vtopo) -> None:
    often = Counter(Counter(a.number for a in passing(pair, "twice", MANY, gap=0.0)).values())
    assert set(often) == {1, 2}
    assert often[1] + often[2] == MANY
    assert as_often(often[2], MANY, 0.05)


def test_as_many_are_corrupted_as_the_lab_says(pair: Vtopo) -> None:
    arrived = passing(pair, "turned", MANY, gap=0.0)
    corrupted = sum(not a.intact for a in arrived)
    assert as_often(corrupted, MANY, 0.05 * IN_DATA)
    assert len(arrived) >= MANY * 0.98


def test_as_many_overtake_the_delayed_ones_as_the_lab_says(pair: Vtopo) -> None:
    arrived = passing(pair, "early", MANY)
    assert len(arrived) == MANY
    assert as_often(sum(a.delay < 0.05 for a in arrived), MANY, 0.25)
    assert median(1000 * a.delay for a in arrived) == pytest.approx(100, rel=0.1)
    numbers = [a.number for a in arrived]
    assert numbers != sorted(numbers)


@pytest.mark.parametrize("way", ["ab", "ba"])
def test_a_rate_behind_a_delay_is_within_a_tenth(pair: Vtopo, way: str) -> None:
    for _ in range(6):  # what halts the sender for long lets nothing pass meanwhile
        arrived = passing(pair, "narrow", 8000, way, gap=0.005, batch=20)
        assert len(arrived) < 4000, "more was sent than passes"
        late = [a.at for a in arrived if a.at > arrived[0].at + 0.3]  # the bucket was full at first
        # Of a hundred at a time, so that a halt counts for the hundred that it is in.
        seen = (
            8 * 100 * 1000 / IN_DATA / median(late[i + 100] - late[i] for i in range(0, len(late) - 100, 100))
        )
        if seen == pytest.approx(2_000_000, rel=0.1):
            break
    assert seen == pytest.approx(2_000_000, rel=0.1)


def test_up_changes_it_in_place_and_packets_on_their_way_arrive(pair: Vtopo) -> None:
    before = pair.facts()
    counts = pair("up", pair.write(text(changed="delay 300ms")), "--json").events[-1]["counts"]
    assert {action: n for action, n in counts.items() if n and action != "no-op"} == {"update": 1}
    assert pair.facts() == before
    arrived = passing(pair, "changed", 200)
    assert len(arrived) == 200
    assert 1000 * median(a.delay for a in arrived) == pytest.approx(300, rel=0.1)


def test_link_set_changes_it_until_up_restores_it(pair: Vtopo) -> None:
    pair("up", pair.write(text()))
    pair("link", "a:changed", "b", "set", "delay=250ms", "loss=0%", "--lab", pair.lab)
    arrived = passing(pair, "changed", 200)
    assert len(arrived) == 200
    assert 1000 * median(a.delay for a in arrived) == pytest.approx(250, rel=0.1)
    assert "delay 250ms" in pair("status", "--exit-code", pair.lab, status=3).out
    pair("up", pair.write(text()))
    arrived = passing(pair, "changed", 200)
    assert as_often(200 - len(arrived), 200, 0.5)
    assert 1000 * median(a.delay for a in arrived) == pytest.approx(100, rel=0.1)
