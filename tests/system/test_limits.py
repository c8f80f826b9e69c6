"""Limits from the lab file to the kernel: made, changed, drifted, refused, taken away."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from cli import Vtopo, eventually, marked
from groups import Groups, mounts, version

MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    0 in (version("cpu"), version("memory"), version("pids")),
    reason="this kernel has no cpu, memory or pids controller",
)


def groups(vtopo: Vtopo, node: str) -> Groups:
    return Groups(vtopo.node(node).pid)


def memory(vtopo: Vtopo, node: str) -> int:
    return int(groups(vtopo, node).file("memory", "memory.limit_in_bytes", "memory.max"))


def steps(vtopo: Vtopo, lab: Path) -> dict[str, tuple[str, str]]:
    """What `up` would do: the resource to the change and its reason."""
    plan = vtopo("plan", lab, "--json").json
    return {step["id"]: (step["change"], step["reason"]) for step in plan["steps"]}


@pytest.mark.debian
def test_an_edit_changes_a_limit_in_place(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a { memory 64MiB; pids 50 }\nhost b { memory 64MiB }\n"))
    before = vtopo.facts()
    assert (memory(vtopo, "a"), memory(vtopo, "b")) == (64 * MIB, 64 * MIB)
    lab = vtopo.write("host a { memory 96MiB; pids 50; cpus 0.5 }\nhost b { memory 64MiB }\n")
    assert steps(vtopo, lab) == {
        "a/cgroup": ("update", f"cpu_quota none → 50000, memory {64 * MIB} → {96 * MIB}")
    }
    vtopo("up", lab)
    assert memory(vtopo, "a") == 96 * MIB
    assert groups(vtopo, "a").file("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert vtopo.facts() == before
    assert "nothing to do" in vtopo("up", lab).out


@pytest.mark.debian
def test_limits_come_and_go_under_a_running_host(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a\nhost b\nlink a 10.0.0.1/24 -- b 10.0.0.2/24\n"))
    before, outside = vtopo.facts(), groups(vtopo, "a").folder("pids")
    links = "link a 10.0.0.1/24 -- b 10.0.0.2/24\n"
    vtopo("up", vtopo.write("host a { pids 30; memory 64MiB }\nhost b\n" + links))
    assert groups(vtopo, "a").file("pids", "pids.max") == "30"
    assert groups(vtopo, "b").folder("pids") == outside
    vtopo("up", vtopo.write("host a\nhost b\n" + links))
    assert groups(vtopo, "a").folder("pids") == outside
    assert leftovers(vtopo.lab) == []
    assert vtopo.facts() == before


@pytest.mark.debian
def test_a_host_made_anew_is_in_its_group_again(vtopo: Vtopo) -> None:
    lab = vtopo.write("host a { pids 30 }\n")
    vtopo("up", lab)
    os.kill(vtopo.node("a").pid, 9)
    vtopo("up", lab)
    assert groups(vtopo, "a").file("pids", "pids.max") == "30"


@pytest.mark.debian
def test_drift_shows_and_is_repaired(vtopo: Vtopo) -> None:
    lab = vtopo.write("host a { pids 30; memory 64MiB }\n")
    vtopo("up", lab)
    (groups(vtopo, "a").folder("pids") / "pids.max").write_text("max")
    status = vtopo("status", vtopo.lab, "--exit-code", status=3)
    assert "pids none → 30" in status.out
    vtopo("up", lab)
    assert groups(vtopo, "a").file("pids", "pids.max") == "30"
    vtopo("status", vtopo.lab, "--exit-code")


@pytest.mark.debian
def test_a_host_that_somebody_moved_away_is_put_back(vtopo: Vtopo) -> None:
    # Of two: where systemd runs, the groups of a lab whose last process has left them go with its scope.
    lab = vtopo.write("host a { pids 30 }\nhost b { pids 30 }\n")
    vtopo("up", lab)
    pid = vtopo.node("a").pid
    (mounts()["pids"][1] / "cgroup.procs").write_text(str(pid))
    assert steps(vtopo, lab).keys() == {"a/member"}
    vtopo("up", lab)
    assert vtopo.node("a").pid == pid
    assert groups(vtopo, "a").file("pids", "pids.max") == "30"


@pytest.mark.debian
def test_limits_that_cannot_be_are_refused_with_their_lines_and_nothing_is_touched(vtopo: Vtopo) -> None:
    lab = vtopo.write(
        """host ok { pids 5 }
host big {
  memory 900TiB
  cpus 5000
}
host set { cpuset 0..900 }
host io { io { device "/dev/none" { read 1MB/s } }; devices { allow "/dev/nothing" rw } }
"""
    )
    refused = vtopo("up", lab, status=1)
    for words, line in (
        ("memory 900TiB is more than the machine has", 3),
        ("cpus 5000 is more than the machine has", 3),
        (f"cpuset 0-900: the machine has no CPU {os.cpu_count()}-900, only ", 7),
        ("io: /dev/none is not there on this machine", 8),
        ("devices: /dev/nothing is not there on this machine", 8),
    ):
        (told,) = (part for part in refused.err.split("error[") if words in part)
        assert f"{lab}:{line}:" in told
    assert "nothing was touched" in refused.err
    assert vtopo.names() == []
    assert leftovers(vtopo.lab) == []


def test_a_command_is_limited_as_its_host_is(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a { memory 48MiB; pids 20 }\n"))
    hog = vtopo.exec("a", "python3", "-c", "print(len(bytearray(90 << 20)))", status=137)
    assert hog.out == ""
    bomb = vtopo.exec("a", "sh", "-c", "for i in $(seq 40); do sleep 2 & done", status=2)
    assert "fork" in bomb.err


def test_down_without_records_takes_the_groups_along(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a { pids 30; memory 64MiB; cpu-weight 100 }\n"))
    for record in (vtopo.state / "labs" / vtopo.lab).iterdir():
        record.unlink()
    vtopo("down", vtopo.lab)
    assert leftovers(vtopo.lab) == []


def leftovers(lab: str) -> list[str]:
    """Groups that bear the lab's name."""
    tops = {path for _, path in mounts().values()}
    return [
        str(folder) for top in tops for folder in top.rglob("*") if folder.is_dir() and lab in folder.name
    ]


@pytest.mark.skipif(version("memory") != 1, reason="only cgroup v1 has processes wait for memory")
def test_a_daemon_that_finds_no_memory_says_so_and_holds_up_no_other(vtopo: Vtopo) -> None:
    lab = vtopo.write(
        'host a { memory 2MiB; oom pause; run ["sleep", "1018"] }\nhost b { run ["sleep", "1019"] }\n'
    )
    vtopo("up", lab)
    hungry = "x=$(head -c 20000000 /dev/zero | tr '\\0' y)"

    def found_none() -> bool:
        # What one leaves when it is killed may be enough for the next one, if that is quicker than who waits for it.
        for pid in marked(vtopo.lab):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if b"1018" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        return "vtopo: sleep: Cannot allocate memory" in vtopo("logs", "a", "--lab", vtopo.lab).out

    found = False
    for left in (2, 1, 0):
        with vtopo.start("exec", "--lab", vtopo.lab, "a", "--", "sh", "-c", hungry) as full:
            try:
                eventually(lambda: "under_oom 1" in groups(vtopo, "a").file("memory", "memory.oom_control"))
                # Seldom the next one gets just so far that it waits for memory, too: then all begins anew.
                with contextlib.suppress(AssertionError) if left else contextlib.nullcontext():
                    found = eventually(found_none, 25)
                if found:
                    vtopo("node", "b", "restart", "--lab", vtopo.lab)
                    break
            finally:
                full.kill()
    eventually(
        lambda: [p for p in marked(vtopo.lab) if b"1018" in Path(f"/proc/{p}/cmdline").read_bytes()], 30
    )
