"""`vtopo stats` against the files of control groups, /proc and the counters of the kernel."""

import os
import pty
import re
import subprocess
import time
from typing import Any

import pytest
from cli import Vtopo
from groups import Groups, version

MIB = 1 << 20
LAB = """\
host a { memory 64MiB; pids 50 }
host b
bridge lan { subnet 10.0.0.0/24; ageing 300s }
link a -- lan
link b -- lan
"""

grouped = pytest.mark.skipif(
    0 in (version("memory"), version("pids")), reason="this kernel has no memory or pids controller"
)


def stats(vtopo: Vtopo) -> Any:
    return vtopo("stats", vtopo.lab, "--json").json


def node(facts: Any, name: str) -> Any:
    return next(n for n in facts["nodes"] if n["node"] == name)


@grouped
def test_a_host_with_a_group_is_told_by_its_files(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    vtopo.exec("a", "sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done")
    facts = node(stats(vtopo), "a")
    groups = Groups(vtopo.node("a").pid)
    assert facts["kind"] == "host"
    assert facts["cpu_usec"] == pytest.approx(groups.cpu_seconds() * 1e6, abs=20_000)
    assert facts["cpu_usec"] > 20_000
    memory = int(groups.file("memory", "memory.usage_in_bytes", "memory.current"))
    assert facts["memory_bytes"] == pytest.approx(memory, abs=MIB)
    assert facts["memory_limit_bytes"] == 64 * MIB
    assert (facts["pids"], facts["pids_limit"]) == (1, 50)


def test_a_host_without_one_is_told_by_its_processes(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    script = (
        "b = bytearray(30 << 20); sum(range(10**6)); print('ready', flush=True); import time; time.sleep(60)"
    )
    with subprocess.Popen(
        vtopo.argv("exec", "--lab", vtopo.lab, "b", "--", "python3", "-c", script),
        env=vtopo.environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        facts = node(stats(vtopo), "b")
        process.kill()
    assert facts["pids"] == 2
    assert 30 * MIB <= facts["memory_bytes"] < 60 * MIB
    assert facts["cpu_usec"] > 10_000
    assert facts["memory_limit_bytes"] is facts["pids_limit"] is None


def test_interfaces_are_counted_as_the_kernel_counts_them(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    vtopo.exec("a", "ping", "-c3", "-i0.2", "10.0.0.2")
    found = {i["interface"]: i for i in stats(vtopo)["interfaces"]}
    assert found.keys() == {"a:eth0", "b:eth0", "lan:eth0", "lan:eth1", "lan"}
    for name, where in (("a:eth0", vtopo.node("a")), ("lan:eth0", vtopo.fabric)):
        device = found[name]["device"]
        (link,) = where.ip("-s", "link", "show", "dev", device)
        kernel = link["stats64"]
        for way in ("rx", "tx"):
            assert 3 <= found[name][f"{way}_packets"] <= kernel[way]["packets"]
            assert 3 * 98 <= found[name][f"{way}_bytes"] <= kernel[way]["bytes"]
    assert found["a:eth0"]["tx_packets"] == found["lan:eth0"]["rx_packets"]


def test_a_busy_host_shows(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a { cpus 0.5; pids 50 }\nhost idle\n"))
    with subprocess.Popen(
        vtopo.argv("exec", "--lab", vtopo.lab, "a", "--", "sh", "-c", "while :; do :; done"),
        env=vtopo.environment(),
    ) as process:
        time.sleep(1)
        facts = stats(vtopo)
        process.kill()
    assert 5 < node(facts, "a")["cpu_percent"] < 75
    assert node(facts, "idle")["cpu_percent"] < 5


def test_the_table_of_one_reading(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    out = vtopo("stats", vtopo.lab).out
    assert re.search(r"^NODE +KIND +CPU +CPU TIME +MEMORY +READ +WRITTEN +PIDS$", out, re.MULTILINE)
    assert re.search(r"^b +host +0\.0% +\S+s +\S+ +\S+ +\S+ +1$", out, re.MULTILINE)
    assert re.search(r"^lan:eth1( +[\d.]+k?bit){2} ", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


def test_a_node_that_died_is_left_out(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    os.kill(vtopo.node("a").pid, 9)
    time.sleep(0.2)
    facts = stats(vtopo)
    assert [n["node"] for n in facts["nodes"]] == ["b"]
    assert {i["interface"] for i in facts["interfaces"]} <= {"b:eth0", "lan:eth0", "lan:eth1", "lan"}


def test_a_terminal_sees_it_change_until_ctrl_c(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    pid, fd = pty.fork()
    if pid == 0:
        words = vtopo.argv("stats", vtopo.lab, "--interval", "0.3")
        os.execvpe(words[0], words, vtopo.environment({"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}))
    seen = b""
    end = time.monotonic() + 60
    while seen.count(b"CPU TIME") < 3:
        assert time.monotonic() < end
        seen += os.read(fd, 1 << 16)
    os.write(fd, b"\x03")
    try:
        while part := os.read(fd, 1 << 16):
            seen += part
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert b"Traceback" not in seen
    assert b"Ctrl-C ends" in seen


def test_no_lab_and_no_such_lab(vtopo: Vtopo) -> None:
    refused = vtopo("stats", "nonesuch", status=1)
    assert "nonesuch" in refused.err
