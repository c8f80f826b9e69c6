"""Limits of hosts: in the files of their control groups, and in what a host that goes over them gets."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from groups import Groups, mounts, version
from lab import Lab
from test_enter import command

from vtopo.backends.base import Done, Failed, Handle
from vtopo.backends.cgroups import CgroupBackend
from vtopo.compile.resources import Cgroup, DeviceAccess, DeviceIo, Member

MIB = 1 << 20

pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(
        0 in (version("cpu"), version("memory"), version("pids")),
        reason="this kernel has no cpu, memory or pids controller",
    ),
]


def cgroup(node: str, **limits: object) -> Cgroup:
    return Cgroup(id=f"{node}/cgroup", node=node, **limits)  # type: ignore[arg-type]


def member(node: str) -> Member:
    return Member(id=f"{node}/member", needs=(node, f"{node}/cgroup"), within=(node,), node=node, host=node)


def limited(lab: Lab, **hosts: dict[str, object]) -> dict[str, Handle]:
    """Hosts with limits, in their groups."""
    lab.hosts(*hosts)
    lab.must(*(cgroup(node, **limits) for node, limits in hosts.items()))
    lab.must(*(member(node) for node in hosts))
    return {node: lab.handles[node] for node in hosts}


def limited_one(lab: Lab, **limits: object) -> tuple[Handle, Groups]:
    """A host with limits, and its groups."""
    handle = limited(lab, a=limits)["a"]
    return handle, Groups(handle.pid or 0)


def observed(lab: Lab, r: Cgroup) -> Cgroup | None:
    found = lab.cgroups.observe([r], lab.handles).get(r.id)
    return found.found if found else None  # type: ignore[return-value]


def run(handle: Handle, script: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A shell script in the host, by way of vtopo's own door."""
    return subprocess.run(
        command(handle, "sh", "-c", script), capture_output=True, text=True, timeout=timeout, check=False
    )


@contextmanager
def started(handle: Handle, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the host, which is ended afterwards."""
    with subprocess.Popen(command(handle, *argv), stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


BUSY = ("sh", "-c", "while :; do :; done")


def cpu_shares(handles: list[Handle], seconds: float) -> list[float]:
    """What part of one CPU each host got while all are busy."""
    with started(handles[0], *BUSY), started(handles[-1], *BUSY):
        groups = [Groups(h.pid or 0) for h in handles]
        wait_for(lambda: all(group.cpu_seconds() > 0.2 for group in groups))
        before, start = [g.cpu_seconds() for g in groups], time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        return [(g.cpu_seconds() - b) / took for g, b in zip(groups, before, strict=True)]


# CPU


def test_two_busy_hosts_share_a_cpu_by_their_weights(lab: Lab) -> None:
    both = limited(lab, a={"cpu_weight": 1024, "cpuset": "0"}, b={"cpu_weight": 512, "cpuset": "0"})
    a, b = cpu_shares(list(both.values()), 3)
    assert a / (a + b) == pytest.approx(2 / 3, abs=0.05)


def test_half_a_cpu_is_half_a_cpu(lab: Lab) -> None:
    handle, groups = limited_one(lab, cpu_quota=50_000)
    (share, *_) = cpu_shares([handle], 2)
    assert 0.1 < share < 0.6  # two busy processes would take all of two CPUs; a crowded machine gives less
    assert groups.file("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_a_cpuset_is_where_processes_run(lab: Lab) -> None:
    handle, groups = limited_one(lab, cpuset="1")
    assert run(handle, "grep Cpus_allowed_list /proc/self/status").stdout.split()[1] == "1"
    assert groups.file("cpuset", "cpuset.cpus") == "1"


# Memory and processes


HOG = "python3 -c 'b = bytearray(80 << 20); print(len(b))'"


def test_a_process_past_its_memory_is_killed_and_the_host_lives(lab: Lab) -> None:
    handle, groups = limited_one(lab, memory=48 * MIB, swap=0)
    done = run(handle, f"{HOG}; echo $?")
    assert done.stdout.split() == ["137"]
    assert run(handle, "echo alive").stdout == "alive\n"
    assert groups.file("memory", "memory.limit_in_bytes", "memory.max") == str(48 * MIB)


@pytest.mark.skipif(version("memory") != 1, reason="cgroup v2 never pauses at the end of memory")
def test_a_process_past_its_memory_pauses_where_the_lab_says_so(lab: Lab) -> None:
    handle, groups = limited_one(lab, memory=48 * MIB, swap=0, oom="pause")
    with started(handle, "sh", "-c", HOG) as process:
        wait_for(lambda: "under_oom 1" in groups.file("memory", "memory.oom_control"))
        assert process.poll() is None
        lab.must_update(
            cgroup("a", memory=48 * MIB, swap=0, oom="pause"), cgroup("a", memory=200 * MIB, swap=0)
        )
        assert process.communicate(timeout=20)[0] == b"83886080\n"


def test_reservation_and_swappiness(lab: Lab) -> None:
    limits: dict[str, object] = {"memory": 64 * MIB, "memory_reservation": 32 * MIB}
    if version("memory") == 1:
        limits["swappiness"] = 10
    _, groups = limited_one(lab, **limits)
    assert groups.file("memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)
    if version("memory") == 1:
        assert groups.file("memory", "memory.swappiness") == "10"


def test_swap_is_on_top_of_memory(lab: Lab) -> None:
    _, groups = limited_one(lab, memory=64 * MIB, swap=16 * MIB)
    both = (64 + 16) * MIB
    assert groups.file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max") == str(
        both if version("memory") == 1 else 16 * MIB
    )


def test_a_fork_bomb_stops_at_pids(lab: Lab) -> None:
    handle, groups = limited_one(lab, pids=20)
    script = "for i in $(seq 60); do sleep 3 & done; echo never"
    done = run(handle, script)
    assert "never" not in done.stdout
    assert "fork" in done.stderr
    assert groups.file("pids", "pids.max") == "20"
    assert int(groups.file("pids", "pids.current")) <= 20


# I/O and devices


def some_disk() -> str:
    """A block device of this machine that is no partition."""
    disks = [p for p in Path("/sys/block").iterdir() if not p.name.startswith(("ram", "zram", "sr"))]
    return f"/dev/{sorted(disks, key=lambda p: p.name.startswith('loop'))[0].name}"


def test_io_rates_stand_in_the_files(lab: Lab) -> None:
    disk = some_disk()
    numbers = Path(disk).stat().st_rdev
    device = f"{os.major(numbers)}:{os.minor(numbers)}"
    limit = DeviceIo(device=disk, read_bytes=10 * MIB, write_iops=1000)
    handle, groups = limited_one(lab, io=(limit,))
    if version("io") == 1:
        assert groups.file("io", "blkio.throttle.read_bps_device") == f"{device} {10 * MIB}"
        assert groups.file("io", "blkio.throttle.write_iops_device") == f"{device} 1000"
        assert groups.file("io", "blkio.throttle.write_bps_device") == ""
    else:
        assert groups.file("io", "io.max") == f"{device} rbps={10 * MIB} wbps=max riops=max wiops=1000"
    assert observed(lab, cgroup("a", io=(limit,))) == cgroup("a", io=(limit,))
    assert handle.pid


def test_io_weight(lab: Lab) -> None:
    spec = cgroup("a", io_weight=500)
    if list(lab.cgroups.unable([spec])):
        pytest.skip("this kernel weighs no I/O")
    _, groups = limited_one(lab, io_weight=500)
    assert groups.file("io", "blkio.bfq.weight", "io.weight").split()[-1] == "500"
    assert observed(lab, spec) == spec


OPEN = "mknod /tmp/fuse c 10 229; (: < /tmp/fuse) && echo opened; (: < /dev/null) && echo null"


def test_a_device_that_is_denied_is_refused(lab: Lab) -> None:
    handle, _ = limited_one(lab, device_access=(DeviceAccess(device="/dev/fuse", access="m"),))
    done = run(handle, OPEN)
    assert done.stdout.split() == ["null"]
    assert "not permitted" in done.stderr.lower()


def test_deny_all_leaves_what_every_host_has_and_what_is_allowed(lab: Lab) -> None:
    fuse = (DeviceAccess(device="/dev/fuse", access="rwm"),)
    handle, _ = limited_one(lab, devices="deny", device_access=fuse)
    script = f"{OPEN}; mknod /tmp/kmsg c 1 11 || echo no; tty >/dev/null; : > /dev/ptmx && echo ptmx"
    assert run(handle, script).stdout.split() == ["opened", "null", "no", "ptmx"]
    assert observed(lab, cgroup("a", devices="deny", device_access=fuse)) is not None


def test_device_rules_change_in_place(lab: Lab) -> None:
    deny, allow = cgroup("a", devices="deny"), cgroup("a", device_access=())
    handle, _ = limited_one(lab, devices="deny")
    assert "opened" not in run(handle, OPEN).stdout
    lab.must_update(deny, allow)
    assert "opened" in run(handle, f"rm -f /tmp/fuse; {OPEN}").stdout
    lab.must_update(allow, deny)
    assert "opened" not in run(handle, OPEN).stdout
    assert observed(lab, deny) == deny


# Groups


def test_only_the_command_pays_and_all_that_a_host_runs_is_in_its_groups(lab: Lab) -> None:
    handle, groups = limited_one(lab, memory=64 * MIB, pids=50)
    with started(handle, "sleep", "100") as process:
        wait_for(lambda: "sleep" in lab.run("a", "ps", "-A", "-o", "comm="))
        inside = (groups.folder("pids") / "cgroup.procs").read_text().split()
        assert str(handle.pid) in inside
        assert len(inside) == 2
        assert str(process.pid) not in inside


def test_limits_change_in_place_under_a_running_host(lab: Lab) -> None:
    handle, groups = limited_one(lab, memory=64 * MIB, swap=0, cpu_weight=512, pids=100)
    before = cgroup("a", memory=64 * MIB, swap=0, cpu_weight=512, pids=100)
    for memory in (256, 32):
        after = cgroup("a", memory=memory * MIB, swap=0, cpu_quota=20_000, cpuset="0")
        lab.must_update(before, after)
        assert groups.file("memory", "memory.limit_in_bytes", "memory.max") == str(memory * MIB)
        before = after
    assert groups.file("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "20000"
    assert groups.file("cpu", "cpu.shares", "cpu.weight") == ("1024" if version("cpu") == 1 else "100")
    assert groups.file("pids", "pids.max") == "max"
    assert groups.file("cpuset", "cpuset.cpus") == "0"  # in a hierarchy where it had no group before
    assert run(handle, "grep Cpus_allowed_list /proc/self/status").stdout.split()[1] == "0"
    lab.must_update(before, cgroup("a", cpu_quota=20_000))
    allowed = run(handle, "grep Cpus_allowed_list /proc/self/status").stdout.split()[1]
    assert allowed == Path("/proc/self/status").read_text().split("Cpus_allowed_list:")[1].split()[0]


def test_what_is_changed_by_hand_is_seen(lab: Lab) -> None:
    limits: dict[str, object] = {
        "cpu_quota": 50_000,
        "cpu_weight": 512,
        "cpuset": "0",
        "memory": 64 * MIB,
        "memory_reservation": 32 * MIB,
        "pids": 100,
    }
    spec = cgroup("a", **limits)
    _, groups = limited_one(lab, **limits)
    assert observed(lab, spec) == spec
    (groups.folder("pids") / "pids.max").write_text("max")
    (groups.folder("cpuset") / "cpuset.cpus").write_text("0-1")
    file = "memory.soft_limit_in_bytes" if version("memory") == 1 else "memory.low"
    (groups.folder("memory") / file).write_text(str(16 * MIB))
    drifted = dataclasses.replace(spec, pids=None, cpuset="0-1", memory_reservation=16 * MIB)
    assert observed(lab, spec) == drifted
    lab.must_update(drifted, spec)
    assert observed(lab, spec) == spec


def test_sizes_that_are_no_whole_pages_do_not_drift(lab: Lab) -> None:
    spec = cgroup("a", memory=50_000_000, swap=0, memory_reservation=20_000_001, cpu_weight=700)
    limited_one(lab, memory=50_000_000, swap=0, memory_reservation=20_000_001, cpu_weight=700)
    assert observed(lab, spec) == spec


def test_a_host_that_left_its_group_is_not_in_it(lab: Lab) -> None:
    handle, groups = limited_one(lab, pids=50)
    assert lab.cgroups.observe([member("a")], lab.handles).keys() == {"a/member"}
    top = mounts()["pids"][1]
    (top / "cgroup.procs").write_text(str(handle.pid))
    assert not lab.cgroups.observe([member("a")], lab.handles)
    lab.must(member("a"))
    assert groups.file("pids", "pids.max") == "50"


def test_a_host_that_runs_already_is_put_in_with_all_its_processes(lab: Lab) -> None:
    lab.hosts("a")
    handle = lab.handles["a"]
    script = "unshare -p -f sh -c 'sleep 100 & sleep 100' & sleep 100"
    with started(handle, "sh", "-c", script) as process:
        wait_for(lambda: lab.run("a", "ps", "-A", "-o", "comm=").split().count("sleep") == 3)
        lab.must(cgroup("a", pids=100))
        lab.must(member("a"))
        groups = Groups(handle.pid or 0)
        names = {
            Path(f"/proc/{pid}/comm").read_text().strip()
            for pid in (groups.folder("pids") / "cgroup.procs").read_text().split()
        }
        assert names >= {"vtopo-init", "sh", "unshare", "sleep"}
        inside = int(groups.file("pids", "pids.current"))
        assert inside >= 6

        # And out again, to where hosts without limits are: where their makers are.
        assert [o for o in lab.cgroups.delete([member("a")], lab.handles) if isinstance(o, Failed)] == []
        assert (groups.folder("pids")) == Groups(os.getpid()).folder("pids")
        assert list(lab.cgroups.delete([cgroup("a", pids=100)], lab.handles)) == [Done("a/cgroup")]
        assert process.poll() is None


def test_what_is_left_in_a_group_is_killed_with_it(lab: Lab) -> None:
    lab.hosts()
    lab.must(cgroup("a", pids=100))
    folder = next(Path(p) for p in group_folders(lab))
    (folder / "inner").mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        (folder / "inner" / "cgroup.procs").write_text(str(process.pid))
        assert list(lab.cgroups.delete([cgroup("a", pids=100)], {})) == [Done("a/cgroup")]
        assert process.wait(30) == -signal.SIGKILL
    assert not folder.exists()


def group_folders(lab: Lab) -> list[str]:
    """The folders of all groups of the lab, in the hierarchies that limit processes."""
    top = mounts()["pids"][1]
    return [str(p) for p in top.rglob("*.host") if lab.name in str(p)]


def test_a_sweep_needs_no_records(lab: Lab) -> None:
    limited(lab, a={"pids": 50, "memory": 64 * MIB}, b={"cpu_quota": 10_000})
    fresh = CgroupBackend(lab.name)
    assert list(fresh.traces()) == ["cgroup a", "cgroup b"]
    lab.namespaces.sweep()
    assert list(fresh.sweep()) == ["cgroup a", "cgroup b"]
    assert not fresh.traces()
    assert not group_folders(lab)
    fresh.close()


def test_groups_of_others_are_left_alone(lab: Lab) -> None:
    if version("pids") == 2:
        pytest.skip("nobody else makes groups in a part of the tree that systemd gave us")
    top = mounts()["pids"][1]
    theirs = top / "vtopo" / f"{lab.name}-other.lab"
    theirs.mkdir(parents=True)
    try:
        limited_one(lab, pids=50)
        lab.namespaces.sweep()
        lab.cgroups.sweep()
        assert theirs.is_dir()
    finally:
        theirs.rmdir()
        lab.cgroups.sweep()


def test_names_that_are_files_of_groups_are_names_of_hosts(lab: Lab) -> None:
    names = ("tasks", "cgroup.procs", "memory.max", "cpu.stat")
    lab.hosts()
    lab.must(*(cgroup(name, pids=5, memory=64 * MIB) for name in names))
    assert sorted(lab.cgroups.traces()) == sorted(f"cgroup {name}" for name in names)


# What cannot be


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"cpu_quota": 400 * 100_000}, "cpus 400 is more than the machine has: "),
        ({"cpuset": "0,4000-4001"}, "the machine has no CPU 4000-4001, only "),
        ({"memory": 1 << 60}, "memory 1048576TiB is more than the machine has: "),
        ({"memory_reservation": 1 << 60}, "memory-reservation 1048576TiB is more than"),
        ({"pids": 1 << 30}, "pids 1073741824 is more than the machine allows: kernel.pid_max is "),
        ({"io": (DeviceIo(device="/dev/none", read_iops=5),)}, "io: /dev/none is not there on this machine"),
        ({"io": (DeviceIo(device="/dev/null", read_iops=5),)}, "io: /dev/null is no block device"),
        (
            {"device_access": (DeviceAccess(device="/dev/none", access="r"),)},
            "devices: /dev/none is not there",
        ),
        ({"device_access": (DeviceAccess(device="/etc", access="r"),)}, "devices: /etc is no device"),
    ],
)
def test_what_the_machine_does_not_have_is_said_before_anything_is_made(
    lab: Lab, limits: dict[str, object], words: str
) -> None:
    (failure,) = lab.cgroups.unable([cgroup("a", **limits)])
    assert words in failure.reason
    assert not lab.cgroups.traces()


def test_what_a_version_cannot_do_is_said(lab: Lab) -> None:
    reasons = [f.reason for f in lab.cgroups.unable([cgroup("a", memory=MIB, swappiness=5, oom="pause")])]
    assert reasons == (
        []
        if version("memory") == 1
        else [
            "oom pause: cgroup v2 always kills",
            "swappiness: cgroup v2 has none for a group; only the machine's, vm.swappiness",
        ]
    )


def test_a_machine_without_a_controller_says_so(lab: Lab) -> None:
    from vtopo.backends.cgroup_checks import Checks
    from vtopo.backends.cgroup_paths import Hierarchy
    from vtopo.backends.cgroup_tree import Tree

    bare = Tree(lab.name, [])
    (reason,) = Checks(bare).reasons(cgroup("a", pids=5))
    assert reason.startswith("pids: this machine has no cgroup hierarchy with the pids controller")
    locked = Tree(lab.name, [Hierarchy(1, "/sys/fs/cgroup/pids", frozenset({"pids"}), read_only=True)])
    (reason,) = Checks(locked).reasons(cgroup("a", pids=5))
    assert reason == "pids: /sys/fs/cgroup/pids is mounted read-only, as in a container without privileges"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# eBPF, in any v2 tree: programs for devices need no controller of it


@pytest.fixture
def v2_group(lab_name: str) -> Iterator[Path]:
    if "" not in mounts():
        pytest.skip("no cgroup v2 tree is mounted")
    folder = mounts()[""][1] / f"{lab_name}-bpf"
    folder.mkdir()
    yield folder
    folder.rmdir()


def test_a_v2_group_refuses_devices_by_a_program(v2_group: Path) -> None:
    from vtopo.backends import bpf, cgroup_devices

    kmsg = DeviceAccess(device="/dev/kmsg", access="r")
    fd = os.open(v2_group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for spec, expected in (
            (cgroup("a", devices="deny", device_access=(kmsg,)), {"kmsg r", "null w"}),
            (cgroup("a", device_access=(kmsg,)), {"kmsg r", "null w", "fuse w"}),
            (cgroup("a"), {"kmsg r", "kmsg w", "null w", "fuse w"}),
        ):
            cgroup_devices.v2_attach(fd, spec)
            assert opened_in(v2_group) == expected
            if spec != cgroup("a"):
                assert cgroup_devices.v2_holds(fd, spec)
                assert not cgroup_devices.v2_holds(fd, cgroup("a", devices="deny"))
        assert not bpf.attached(fd)
    finally:
        os.close(fd)


def opened_in(group: Path) -> set[str]:
    """What a process in the group can open, of a few devices."""
    tries = "(: < /dev/kmsg) && echo kmsg r; (: > /dev/kmsg) && echo kmsg w; "
    tries += "(: > /dev/null) && echo null w; (: <> /dev/fuse) && echo fuse w; true"
    script = f"echo 0 > {group}/cgroup.procs; {tries}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())
