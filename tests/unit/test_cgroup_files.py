"""What each limit is in the files of cgroup v1 and of v2."""

import pytest

from vtopo.backends.cgroup_files import Write, controllers, found, writes
from vtopo.compile.resources import Cgroup, DeviceIo

MIB = 1 << 20


def cgroup(**limits: object) -> Cgroup:
    return Cgroup(id="a/cgroup", node="a", **limits)  # type: ignore[arg-type]


def told(version: int, new: Cgroup, old: Cgroup | None = None) -> list[tuple[str, str]]:
    return [(w.file, w.text) for w in writes(lambda _: version, new, old)]


FULL = cgroup(
    cpu_quota=150_000,
    cpu_weight=512,
    cpuset="0-1,3",
    memory=64 * MIB,
    memory_reservation=32 * MIB,
    swap=16 * MIB,
    swappiness=10,
    oom="kill",
    pids=100,
    io_weight=500,
)


def test_version_1() -> None:
    assert told(1, FULL) == [
        ("cpu.cfs_quota_us", "150000"),
        ("cpu.shares", "512"),
        ("cpuset.cpus", "0-1,3"),
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("memory.swappiness", "10"),
        ("pids.max", "100"),
        ("blkio.bfq.weight", "500"),
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.memsw.limit_in_bytes", str(80 * MIB)),
        ("memory.oom_control", "0"),
    ]


def test_version_2() -> None:
    assert told(2, FULL) == [
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "50"),
        ("cpuset.cpus", "0-1,3"),
        ("memory.max", str(64 * MIB)),
        ("memory.low", str(32 * MIB)),
        ("memory.swap.max", str(16 * MIB)),
        ("pids.max", "100"),
        ("io.weight", "500"),
        ("io.bfq.weight", "500"),
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_not_limited_is_not_written(version: int) -> None:
    assert told(version, cgroup(pids=5)) == [("pids.max", "5")]
    assert told(version, FULL, FULL) == []


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_no_longer_limited_has_its_default(version: int) -> None:
    texts = dict(told(version, cgroup(), FULL))
    assert texts["pids.max"] == "max"
    if version == 1:
        assert texts["cpu.cfs_quota_us"] == "-1"
        assert texts["memory.limit_in_bytes"] == texts["memory.memsw.limit_in_bytes"] == "-1"
    else:
        assert texts["cpu.max"] == "max 100000"
        assert texts["memory.max"] == texts["memory.swap.max"] == "max"


def test_v1_who_waits_for_memory_gets_it_before_the_kernel_may_kill() -> None:
    little, more = cgroup(memory=48 * MIB, oom="pause"), cgroup(memory=200 * MIB)
    assert told(1, more, little) == [
        ("memory.limit_in_bytes", str(200 * MIB)),
        ("memory.oom_control", "0"),
    ]
    assert [file for file, _ in told(1, little, more)] == ["memory.oom_control", "memory.limit_in_bytes"]


def test_v1_memory_with_swap_is_never_below_memory() -> None:
    """The kernel refuses to set either past the other, so the sum is lifted first."""
    small, large = cgroup(memory=MIB, swap=0), cgroup(memory=9 * MIB, swap=0)
    for old, new in ((small, large), (large, small)):
        assert told(1, new, old) == [
            ("memory.memsw.limit_in_bytes", "-1"),
            ("memory.limit_in_bytes", str(new.memory)),
            ("memory.memsw.limit_in_bytes", str(new.memory)),
        ]


def test_no_swap_needs_no_file_where_the_kernel_counts_none() -> None:
    (write,) = (w for w in writes(lambda _: 2, cgroup(memory=MIB, swap=0), None) if "swap" in w.file)
    assert write == Write("memory", "memory.swap.max", "0", optional=True)


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, "1"), (10, "1"), (512, "50"), (1024, "100"), (2048, "200"), (102_400, "10000")]
)
def test_v2_weights_have_the_ratios_of_shares(shares: int, weight: str) -> None:
    assert told(2, cgroup(cpu_weight=shares)) == [("cpu.weight", weight)]


def test_controllers_are_those_of_the_limits() -> None:
    assert controllers(cgroup(pids=5, io=(DeviceIo(device="/dev/vda", read_iops=1),))) == {"pids", "io"}
    assert controllers(cgroup(devices="deny")) == {"devices"}
    assert controllers(cgroup()) == frozenset()


def test_what_the_kernel_rounds_has_not_drifted() -> None:
    files = {"memory.max": "49999872", "cpu.weight": "68", "cpu.max": "25000 50000", "pids.max": "max"}
    spec = cgroup(memory=50_000_000, cpu_weight=700, cpu_quota=50_000, pids=7)
    seen = found(lambda _: 2, spec, lambda _, file: files.get(file))
    assert (seen.memory, seen.cpu_weight, seen.cpu_quota, seen.pids) == (50_000_000, 700, 50_000, None)
