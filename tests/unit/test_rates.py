"""Usage per second from two readings."""

import pytest

from vtopo.backends.usage import Counters, InterfaceUsage, NodeUsage
from vtopo.cli.stats_command import bits, size
from vtopo.run.rates import Reading, interface_rates, node_rates


def reading(at: float, *nodes: NodeUsage, rx: int = 0) -> Reading:
    return Reading(
        at, nodes, (InterfaceUsage("a:eth0", "eth0", Counters(rx_bytes=rx, rx_packets=rx // 100)),)
    )


def test_cpu_time_is_a_percentage_of_one_cpu() -> None:
    (rates,) = node_rates(
        reading(10, NodeUsage("a", "host", cpu=1_000_000, read=0)),
        reading(12, NodeUsage("a", "host", cpu=2_500_000, read=4096)),
    )
    assert rates.cpu_percent == pytest.approx(75)
    assert rates.read == pytest.approx(2048)
    assert rates.written is None


def test_a_node_that_is_new_or_was_made_anew_has_no_rates_yet() -> None:
    before = reading(0, NodeUsage("a", "host", cpu=500))
    now = reading(1, NodeUsage("a", "host", cpu=100), NodeUsage("b", "host", cpu=100))
    assert [r.cpu_percent for r in node_rates(before, now)] == [None, None]


def test_interfaces_have_bits_and_packets_per_second() -> None:
    (rates,) = interface_rates(reading(0, rx=1000), reading(2, rx=5000))
    assert (rates.rx_bits, rates.rx_packets, rates.tx_bits) == (16000, 20, 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (1 << 20, "1.0MiB"), (64 << 20, "64.0MiB")],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0bit"), (999.6, "1.0kbit"), (9.5e6, "9.5Mbit"), (4e10, "40.0Gbit")]
)
def test_bits(number: float, text: str) -> None:
    assert bits(number) == text
