"""What goes on in guests: when they are ready, who waits for them, commands in them, faults on purpose.

A boot takes seconds, under TCG: tests share guests.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cli import Result, Vtopo, eventually

pytestmark = pytest.mark.usefixtures("hypervisor")

PATIENCE = 300
"""Seconds that a guest may take to boot where all else is busy; it takes three."""

TEXT = """\
host a { after fw; exec "true" }
vm fw {
  kernel "GUEST/vmlinuz"
  initrd "GUEST/initrd"
  cmdline "console=ttyS0 quiet no_timer_check name=fw address=eth0:${fw.eth0.address}/24 agent web"
  memory 96MiB
  disk data { size 1MiB }
  after b
  ready log "guest fw is up" within 300s
  ready tcp 80 within 300s
  ready agent within 300s
  ready ["sh", "-c", "test $(hostname) = fw"] within 300s
}
vm idle { memory 32MiB; disk data { size 1MiB } }
host b { exec "true" }
link a 10.0.0.1/24 -- fw 10.0.0.2/24
"""


@pytest.fixture
def lab(vtopo: Vtopo, small_guest: Path) -> Path:
    return vtopo.write(TEXT.replace("GUEST", str(small_guest)))


def state(vtopo: Vtopo, node: str = "fw") -> Any:
    (found,) = (n["state"] for n in vtopo("status", vtopo.lab, "--json").json["nodes"] if n["node"] == node)
    return found


def domain_id(vtopo: Vtopo) -> str:
    """A number that libvirt gives to no two starts."""
    command = ["virsh", "-c", "qemu:///system", "domid", f"vtopo.{vtopo.lab}.fw"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_guest_is_waited_for_asked_and_disturbed(vtopo: Vtopo, lab: Path) -> None:
    events = vtopo("up", "--json", lab, patience=PATIENCE).events
    order = [e["id"].rpartition("-")[0] or e["id"] for e in events if e["event"] == "done"]
    assert order.index("b/exec/true") < order.index("fw/power")
    assert max(n for n, id_ in enumerate(order) if id_.startswith("fw/ready")) < order.index("a/exec/true")
    commands(vtopo)
    expectations(vtopo, lab)
    usage(vtopo)
    snapshots(vtopo, lab)
    faults(vtopo)


def commands(vtopo: Vtopo) -> None:
    """Output, input and statuses are as if the command ran here."""
    found = vtopo.exec("fw", "sh", "-c", "hostname; echo no >&2; exit 3", status=3)
    assert (found.out, found.err) == ("fw\n", "no\n")
    assert vtopo.exec("fw", "cat", stdin="in" * 20000).out == "in" * 20000
    assert vtopo.exec("fw", "head", "-c", "700000", "/dev/zero").out == "\0" * 700000
    assert vtopo.exec("fw", "sh", "-c", "kill -9 $$", status=137).out == ""
    assert "nothing-such: not found" in vtopo.exec("fw", "nothing-such", status=127).err
    assert "`vtopo console fw`" in vtopo("shell", "--lab", vtopo.lab, "fw", status=1).err
    running = vtopo.start("exec", "--lab", vtopo.lab, "fw", "--", "sleep", "4321")
    try:
        running.communicate(b"", 1)
    except subprocess.TimeoutExpired:
        running.terminate()
    running.communicate(timeout=60)
    assert running.returncode == 130
    left = ("sh", "-c", "busybox pgrep -f '[s]leep 4321'; ls -A /tmp")
    files = vtopo.exec("fw", *left).out.split()
    assert len(files) == 2  # those of this very command: no process, and nothing of the others
    assert files[0].startswith(".vtopo-")
    said = vtopo("logs", "--lab", vtopo.lab, "fw").out
    assert "guest fw is up" in said
    assert vtopo("logs", "--lab", vtopo.lab, "-n", "0", "fw").out == ""
    assert "it has console" in vtopo("logs", "--lab", vtopo.lab, "fw", "syslog", status=1).err


def expectations(vtopo: Vtopo, lab: Path) -> None:
    """Tried by the agent, with the guest's own programs."""
    text = lab.read_text()
    expected = (
        'fw reaches a within 60s\nexpect not fw reaches a on tcp 81\nexpect fw runs "hostname" prints "fw"'
    )
    lab.write_text(f"{text}expect {expected}\n")
    assert "0 failed" in vtopo("test", lab, patience=PATIENCE).out
    lab.write_text(text)


def usage(vtopo: Vtopo) -> None:
    """What libvirt counts of it, and its NIC at its plug."""
    vtopo.exec("fw", "dd", "if=/dev/vda", "of=/dev/null", "bs=64k", "count=4")
    stats = vtopo("stats", vtopo.lab, "--json").json
    (fw,) = (node for node in stats["nodes"] if node["node"] == "fw")
    command = ["virsh", "-c", "qemu:///system", "domstats", "--block", f"vtopo.{vtopo.lab}.fw"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    read = re.search(r"block\.0\.rd\.bytes=(\d+)", told)
    assert read
    assert 4 * 65536 <= fw["read_bytes"] <= int(read[1])
    assert (fw["kind"], fw["memory_limit_bytes"], fw["pids"]) == ("vm", 96 << 20, None)
    assert fw["cpu_usec"] > 100_000
    assert fw["memory_bytes"] > 32 << 20
    assert {i["interface"]: i["tx_bytes"] > 0 for i in stats["interfaces"]}["fw:eth0"]


def snapshots(vtopo: Vtopo, lab: Path) -> None:
    """Memory and disks are those of then, the links those of now; the guest goes on where it was."""

    def snapshot(*words: str, status: int = 0) -> Result:
        return vtopo("snapshot", "--lab", vtopo.lab, *words, status=status)

    def restore(name: str, status: int = 0) -> Result:
        return vtopo("restore", "--lab", vtopo.lab, name, status=status)

    put = "echo {0} > /tmp/kept; echo {0} | dd of=/dev/vda conv=fsync 2>/dev/null"
    vtopo.exec("fw", "sh", "-c", put.format("then"))
    vtopo("node", "--lab", vtopo.lab, "idle", "pause")
    number, link = domain_id(vtopo), vtopo.node("a").links()["eth0"]["ifindex"]
    assert "snapshot base of" in snapshot("base").out
    assert (state(vtopo), state(vtopo, "idle"), domain_id(vtopo)) == ("up", "paused", number)
    (listed,) = snapshot("--json").json["snapshots"]
    assert listed["vms"] == [{"node": "fw", "running": True}, {"node": "idle", "running": False}]
    assert listed["bytes"] > 8 << 20
    assert "has a snapshot `base` already" in snapshot("base", status=1).err
    for name in (".base", "a/b", "x" * 65):
        assert "cannot name a snapshot" in snapshot(name, status=1).err
    assert "it has base" in restore("bases", status=1).err
    vtopo("node", "--lab", vtopo.lab, "idle", "resume")
    vtopo.exec("fw", "sh", "-c", put.format("now"))
    assert "is at snapshot base again: 2 vms" in restore("base").out
    assert vtopo.exec("fw", "sh", "-c", "cat /tmp/kept; head -c 5 /dev/vda").out == "then\nthen\n"
    assert (state(vtopo), state(vtopo, "idle")) == ("up", "paused")
    vtopo("heal", vtopo.lab)
    assert vtopo("plan", lab, "--exit-code").status == 0
    assert vtopo.exec("a", "ping", "-c1", "-W10", "10.0.0.2").status == 0
    assert vtopo.node("a").links()["eth0"]["ifindex"] == link
    folder = Path("/var/lib/libvirt/vtopo", vtopo.lab)
    assert [f.name for f in folder.iterdir() if "restoring" in f.name] == []
    vtopo("node", "--lab", vtopo.lab, "idle", "kill")
    assert "`idle` is off" in snapshot("other", status=1).err
    vtopo("node", "--lab", vtopo.lab, "idle", "start")
    lab.write_text(lab.read_text().replace("memory 32MiB", "memory 33MiB"))
    vtopo("up", lab, patience=PATIENCE)
    assert (
        "`idle` is another machine than in the snapshot `base`: memory.size" in restore("base", status=1).err
    )
    assert snapshot("--delete", "base").out == f"snapshot base of {vtopo.lab} is removed\n"
    assert snapshot().out == "there are no snapshots\n"
    assert not (folder.parent / ".snapshots" / vtopo.lab).exists()


def faults(vtopo: Vtopo) -> None:
    """Its links stay while it is held, off, and started again."""

    def node(action: str, status: int = 0) -> str:
        done = vtopo("node", "--lab", vtopo.lab, "fw", action, status=status, patience=PATIENCE)
        return done.out + done.err

    link, number = vtopo.node("a").links()["eth0"]["ifindex"], domain_id(vtopo)
    node("pause")
    assert state(vtopo) == "paused"
    assert "does not run" in vtopo.exec("fw", "true", status=1).err
    assert node("resume") == "fw is resumed\n"
    assert (state(vtopo), domain_id(vtopo)) == ("up", number)
    assert node("stop") == "fw is stopped\n"
    assert state(vtopo) == "gone"
    assert vtopo("status", vtopo.lab, "--exit-code", status=3)
    for action in ("stop", "pause", "kill"):
        assert "`vtopo node fw start` starts it" in node(action, status=1)
    node("start")
    assert vtopo.exec("a", "ping", "-c1", "-W10", "10.0.0.2").status == 0
    assert (state(vtopo), vtopo.node("a").links()["eth0"]["ifindex"]) == ("up", link)
    vtopo.exec("fw", "sh", "-c", "(sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &")
    eventually(lambda: state(vtopo) == "crashed", 60)
    assert "Kernel panic" in vtopo("logs", "--lab", vtopo.lab, "fw").out
    vtopo("heal", vtopo.lab, patience=PATIENCE)
    assert state(vtopo) == "up"
    node("kill")
    assert state(vtopo) == "gone"


def test_a_snapshot_that_is_killed_leaves_a_guest_that_is_held_and_nothing_else(vtopo: Vtopo) -> None:
    lab = vtopo.write("vm idle { memory 32MiB }\n")
    vtopo("up", lab)
    draft = Path("/var/lib/libvirt/vtopo/.snapshots", vtopo.lab, ".draft")
    with vtopo.start("snapshot", "--lab", vtopo.lab, "base") as running:
        eventually(lambda: draft.exists() or running.poll() is not None, 60)
        running.kill()
    assert vtopo("snapshot", "--lab", vtopo.lab).out in ("there are no snapshots\n", "")
    assert state(vtopo, "idle") in ("paused", "up")
    vtopo("heal", vtopo.lab)
    assert state(vtopo, "idle") == "up"
    for words, bar in (("snapshot", b"saving"), ("restore", b"starting")):
        status, said = vtopo.on_terminal(words, "--lab", vtopo.lab, "bar")
        assert status == 0, said
        assert bar in said
    vtopo("snapshot", "--lab", vtopo.lab, "--delete", "bar")
    vtopo("down", vtopo.lab)
    assert not draft.parent.exists()


def test_a_guest_that_does_not_get_ready_is_undone_with_its_last_words(vtopo: Vtopo, lab: Path) -> None:
    text = lab.read_text()
    lab.write_text(re.sub(r"ready .*\n", "", text).replace("after b", "ready tcp 81 within 10s"))
    failed = vtopo("up", lab, status=1)
    missing = "fw is not ready after 10 s: nothing accepts connections on TCP port 81 at 10.0.0.2; its"
    assert missing in failed.err, failed.err
    assert "undone: all is as it was before" in failed.err
    assert vtopo.names() == []
    lab.write_text(re.sub(r"ready .*\n", "", text).replace("after b", 'ready log "never" within 100s'))
    begun = time.monotonic()
    with vtopo.start("up", lab) as running:
        eventually(lambda: (vtopo.state / "labs").exists() and vtopo.names(), 60)
        time.sleep(1)
        running.terminate()
        assert running.wait(60) == 130
    assert time.monotonic() - begun < 90
    assert vtopo.names() == []


def test_a_guest_without_an_agent_is_refused_with_the_ways_in(vtopo: Vtopo, lab: Path) -> None:
    lab.write_text(re.sub(r"ready .*\n", "", lab.read_text()).replace(" agent ", " "))
    vtopo("up", lab)
    refused = vtopo.exec("fw", "ls", status=1).err
    for way in ("install qemu-guest-agent there", "`vtopo console fw`", "say `ssh root key"):
        assert way in refused
