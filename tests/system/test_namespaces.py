"""Hosts are light machines: isolated, marked, light, and gone without a trace."""

# ruff: noqa: PTH106, PTH115, PTH116, PTH208

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lab import FABRIC, Lab, ip

from vtopo.backends import names
from vtopo.backends.base import Done, Failed, Handle
from vtopo.backends.namespaces import NamespaceBackend, labs_by_marks
from vtopo.backends.zygotes import Zygotes
from vtopo.compile.resources import Host, Netns, Scratch

KINDS = ("pid", "net", "mnt", "uts", "ipc")


def netns_names() -> set[str]:
    return {n["name"] for n in ip("netns")}


def test_a_host_has_namespaces_of_its_own(lab: Lab) -> None:
    lab.hosts("a", "b")
    for kind in KINDS:
        inodes = {
            os.stat(f"/proc/{pid}/ns/{kind}").st_ino for pid in ("self", *(lab.handles[n].pid for n in "ab"))
        }
        assert len(inodes) == 3, kind


@pytest.mark.debian
def test_inside_it_is_a_machine(lab: Lab) -> None:
    lab.hosts("rack.a")
    assert lab.run("rack.a", "hostname") == "rack-a\n"
    assert lab.run("rack.a", "cat", "/etc/hostname") == "rack-a\n"
    assert lab.run("rack.a", "ps", "-o", "pid=", "-p", "1").strip() == "1"
    assert len([p for p in lab.run("rack.a", "ls", "/proc").split() if p.isdigit()]) == 2
    links = lab.ip("rack.a", "address")
    assert [link["ifname"] for link in links] == ["lo"]
    assert "UP" in links[0]["flags"]
    # With the module `bonding` there is a file beside the interfaces.
    assert set(lab.run("rack.a", "ls", "/sys/class/net").split()) - {"bonding_masters"} == {"lo"}
    assert lab.run("rack.a", "ls", "/tmp", "/run/lock") == "/run/lock:\n\n/tmp:\n"
    assert lab.run("rack.a", "sh", "-c", "echo x > /dev/null; head -c4 /dev/zero | wc -c").strip() == "4"
    assert lab.run("rack.a", "ls", "/dev").split() == sorted(
        [
            "fd",
            "full",
            "net",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
            "tty",
            "urandom",
            "zero",
        ]
    )


@pytest.mark.debian
def test_the_machines_files_are_never_written(lab: Lab, tmp_path: Path) -> None:
    lab.hosts("a", "b")
    probe = tmp_path / "probe"
    probe.write_text("machine\n")
    inside = Path("/usr/share/vtopo-probe")
    lab.run("a", "sh", "-c", f"echo host > {inside}; rm /usr/bin/env")
    assert lab.run("a", "cat", str(inside)) == "host\n"
    assert not inside.exists()
    assert Path("/usr/bin/env").exists()
    assert lab.run("b", "ls", "/usr/bin/env").strip() == "/usr/bin/env"
    for path in ("/proc/sys/kernel/pid_max", "/sys/kernel/uevent_helper"):
        with pytest.raises(subprocess.CalledProcessError):
            lab.run("a", "sh", "-c", f"echo 1 > {path}")


def test_what_a_host_mounts_stays_in_it(lab: Lab) -> None:
    lab.hosts("a")
    before = Path("/proc/self/mountinfo").read_text()
    pid = lab.handles["a"].pid
    lab.run("a", "mount", "-t", "tmpfs", "inside", "/mnt")
    assert "inside" in Path(f"/proc/{pid}/mountinfo").read_text()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_host_does_not_forward_until_told(lab: Lab) -> None:
    lab.hosts("a")
    assert lab.run("a", "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_init_reaps_orphans(lab: Lab) -> None:
    lab.hosts("a")
    lab.run("a", "sh", "-c", "(sleep 0.05 &) ; true")
    time.sleep(0.3)
    states = lab.run("a", "ps", "-A", "-o", "stat=").split()
    assert not [s for s in states if s.startswith("Z")]


def test_init_is_small_and_holds_nothing_open(lab: Lab) -> None:
    lab.hosts("a")
    pid = lab.handles["a"].pid
    end = time.monotonic() + 2
    while Path(f"/proc/{pid}/comm").read_text() != "vtopo-init\n" and time.monotonic() < end:
        time.sleep(0.01)  # it says that it is up just before the last exec
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss < 2048
    descriptors = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    assert descriptors == dict.fromkeys("012", "/dev/null")


def test_marks_show_in_the_kernels_own_lists(lab: Lab) -> None:
    lab.hosts("a")
    pid = lab.handles["a"].pid
    assert f"VTOPO_LAB={lab.name}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert f"overlay vtopo:{lab.name}:a " in Path(f"/proc/{pid}/mountinfo").read_text()
    assert f"tmpfs vtopo:{lab.name} " in Path("/proc/self/mountinfo").read_text()
    assert {f"vtopo.{lab.name}", f"vtopo.{lab.name}.a"} <= netns_names()
    assert lab.name in labs_by_marks()


def test_the_scratch_is_for_root_only(lab: Lab) -> None:
    lab.hosts()
    assert lab.namespaces.scratch.path.stat().st_mode & 0o777 == 0o700


def test_observe_finds_what_is_there(lab: Lab) -> None:
    hosts = lab.hosts("a", "b")
    recorded = [*lab.base, *hosts]
    seen = lab.namespaces.observe(recorded, lab.handles)
    assert {i: p.found for i, p in seen.items()} == {r.id: r for r in recorded}
    os.kill(lab.handles["a"].pid or 0, signal.SIGKILL)
    time.sleep(0.2)
    ip("netns", "delete", hosts[1].name)
    seen = lab.namespaces.observe(recorded, lab.handles)
    assert "a" not in seen
    assert seen["b"].found == replace(hosts[1], name="")


def test_observe_finds_hosts_whose_record_has_no_handle(lab: Lab) -> None:
    hosts = lab.hosts("a")
    assert lab.namespaces.observe(hosts, {})["a"].handle == lab.handles["a"]


def test_a_process_with_the_same_pid_is_not_the_host(lab: Lab) -> None:
    hosts = lab.hosts("a")
    stale = {"a": lab.handles["a"]._replace(start=1)}
    assert lab.namespaces.observe(hosts, stale) == {}
    assert list(lab.namespaces.delete(hosts, stale)) == [Done("a")]
    assert Path(f"/proc/{lab.handles['a'].pid}").exists()


def test_delete_returns_when_all_are_gone(lab: Lab) -> None:
    hosts = lab.hosts("a", "b")
    pids = [lab.handles[n].pid for n in "ab"]
    assert sorted(o.id for o in lab.namespaces.delete(hosts, lab.handles)) == ["a", "b"]
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    assert f"vtopo.{lab.name}.a" not in netns_names()
    assert sorted(o.id for o in lab.namespaces.delete(hosts, lab.handles)) == ["a", "b"]


def test_a_host_made_again_has_no_files_of_the_old_one(lab: Lab) -> None:
    hosts = lab.hosts("a")
    lab.run("a", "sh", "-c", "mkdir -p /root/x/y && echo old > /root/x/y/z")
    list(lab.namespaces.delete(hosts, lab.handles))
    lab.must(*hosts)
    assert lab.run("a", "sh", "-c", "ls /root/x 2>/dev/null || echo none") == "none\n"


def test_sweep_needs_no_records(lab: Lab, tmp_path: Path) -> None:
    lab.hosts("a", "b")
    other = NamespaceBackend(lab.name, tmp_path)
    removed = other.sweep()
    assert {"host a", "host b", f"name vtopo.{lab.name}"} <= set(removed)
    assert other.sweep() == []
    assert lab.name not in labs_by_marks()


def test_sweep_leaves_what_is_not_marked(lab: Lab, lab_name: str) -> None:
    ip("netns", "add", f"{lab_name}-other")
    forger = subprocess.Popen(["sleep", "60"], env={"VTOPO_LAB": lab_name})
    try:
        lab.hosts("a")
        assert not [text for text in lab.namespaces.sweep() if str(forger.pid) in text]
        assert forger.poll() is None
        assert f"{lab_name}-other" in netns_names()
    finally:
        forger.kill()
        forger.wait()
        ip("netns", "delete", f"{lab_name}-other")
        subprocess.run(["umount", "/run/netns"], check=False, capture_output=True)
        if not os.listdir("/run/netns"):
            os.rmdir("/run/netns")


def test_a_dead_zygote_is_a_failure_with_a_reason(lab: Lab) -> None:
    lab.hosts()
    pids = lab.zygotes.pids
    for pid in pids:  # held, so that they die with the order in hand
        os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(1, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
    timer.start()
    outcomes = lab.make(lab.host("a"))
    timer.join()
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].reason.startswith("the process that makes hosts")


def test_without_zygotes_a_batch_brings_its_own(lab: Lab, tmp_path: Path) -> None:
    lab.hosts()
    backend = NamespaceBackend(lab.name, tmp_path)
    outcomes = list(backend.create([lab.host("a")], {}))
    assert isinstance(outcomes[0], Done)


def test_zygotes_end_with_their_parent(lab_name: str) -> None:
    code = (
        f"from vtopo.backends.zygotes import Zygotes; print(*Zygotes({lab_name!r}).pids, flush=True); input()"
    )
    command = ["python3", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pids = process.stdout.readline().split()
        assert len(pids) == 2
        process.kill()
    end = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def test_a_failing_set_up_names_the_call_and_the_errno(lab: Lab) -> None:
    lab.hosts()
    (lab.namespaces.scratch.path / "root").rmdir()
    outcomes = lab.make(lab.host("a"))
    assert isinstance(outcomes[0], Failed)
    assert "mount of overlay on root: No such file or directory" in outcomes[0].reason


def test_a_run_directory_that_others_can_write_to_is_refused(lab_name: str, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for run_dir, words in ((loose, "others own it or may write to it"), (link, "symbolic link")):
        outcomes = list(NamespaceBackend(lab_name, run_dir).create([Scratch(id="s")], {}))
        assert isinstance(outcomes[0], Failed)
        assert words in outcomes[0].reason


def test_the_fabrics_ports_do_not_speak(lab: Lab) -> None:
    lab.hosts()
    out = subprocess.run(
        ["ip", "netns", "exec", f"vtopo.{lab.name}", "cat", "/proc/sys/net/ipv6/conf/default/addr_gen_mode"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == "1\n"


def test_names_are_bound_anew_over_a_stale_one(lab: Lab) -> None:
    lab.hosts()
    stale = Netns(id="stale", name=f"vtopo.{lab.name}.a")
    lab.must(stale)
    lab.must(lab.host("a"))
    assert os.stat(f"/run/netns/{stale.name}").st_ino == lab.handles["a"].inode


def test_handles_say_who_the_init_is(lab: Lab) -> None:
    lab.hosts("a")
    handle = lab.handles["a"]
    assert handle.pid is not None
    assert handle.inode == os.stat(f"/proc/{handle.pid}/ns/net").st_ino
    stat = Path(f"/proc/{handle.pid}/stat").read_text().rpartition(")")[2].split()
    assert handle.start == int(stat[19])
    assert lab.handles[FABRIC] == Handle(inode=os.stat(f"/run/netns/vtopo.{lab.name}").st_ino)


def test_a_name_that_cannot_be_unlinked_stays_bound(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.hosts("a")
    name = f"vtopo.{lab.name}.a"

    def refused(path: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    with monkeypatch.context() as patched:
        patched.setattr(names.os, "unlink", refused)
        (error,) = dict(names.drop([name])).values()
    assert error is not None
    assert error.errno == errno.EPERM
    assert names.inode(name) == lab.handles["a"].inode
    subprocess.run(["mount", "--bind", f"/run/netns/{name}", f"/run/netns/{name}"], check=True)  # bound twice
    assert dict(names.drop([name, f"{name}.never"])) == {name: None, f"{name}.never": None}
    assert name not in names.everything()


def test_a_host_without_a_name_is_no_folder(lab: Lab) -> None:
    """An undo makes a host again what it was: without a name, if somebody had taken that away before the run."""
    lab.hosts("a", "b")
    before = netns_names()
    nameless = replace(lab.host("a"), name="")

    def update(old: Host, new: Host) -> None:
        assert list(lab.namespaces.update([(old, new)], lab.handles)) == [Done("a", lab.handles["a"])]

    update(lab.host("a"), nameless)
    assert netns_names() == before - {f"vtopo.{lab.name}.a"}
    update(nameless, lab.host("a"))
    assert netns_names() == before
    update(lab.host("a"), nameless)
    assert [o for o in lab.namespaces.delete([nameless], lab.handles) if isinstance(o, Failed)] == []
    lab.must(nameless)
    assert netns_names() == before - {f"vtopo.{lab.name}.a"}
    for name in ("", "a/b", "../netns"):
        with pytest.raises(ValueError, match="names no network namespace"):
            dict(names.drop([name]))


def test_what_hosts_have_written_is_left_to_the_end_of_the_lab(lab: Lab, tmp_path: Path) -> None:
    (a,) = lab.hosts("a")
    lab.run("a", "touch", "/mine")
    layer = lab.namespaces.scratch.host("a")
    ending = NamespaceBackend(lab.name, lab.namespaces.scratch.run_dir, ending=True)
    assert {type(o) for o in ending.delete([a], lab.handles)} == {Done}
    assert (layer / "upper/mine").exists()
    lab.must(a)
    assert not (layer / "upper/mine").exists(), "one that is made after all begins anew"
    lab.run("a", "touch", "/mine")
    assert {type(o) for o in lab.namespaces.delete([a], lab.handles)} == {Done}
    assert not layer.exists()


def test_without_another_file_nobody_is_taken_for_dead() -> None:
    program = """
import errno, os, resource
from vtopo.backends import processes
from vtopo.backends.base import Handle
state, start = processes.identity(os.getppid())
handle = Handle(os.getppid(), start, None)
assert processes.is_alive(handle)
last = os.dup(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (last, last))
try:
    processes.kill([handle], 0)
except OSError as e:
    assert e.errno == errno.EMFILE
    print("not told")
"""
    argv = [sys.executable, "-c", program]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "not told\n"


def laid_in(pid: int) -> set[int]:
    """The network namespaces that a process has open, by their inodes."""
    found = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{entry}"
        with contextlib.suppress(FileNotFoundError):  # it has been closed since
            if os.readlink(path).startswith("net:"):
                found.add(os.stat(path).st_ino)
    return found


def net_settings(lab: Lab, node: str) -> str:
    keys = ("all", "default", "lo")
    words = " ".join(f"net.ipv4.conf.{k} net.ipv6.conf.{k}" for k in keys)
    shown = lab.run(node, "sh", "-c", f"for k in {words}; do sysctl -a -r ^$k 2>/dev/null; done")
    return "\n".join(line for line in shown.splitlines() if "stable_secret" not in line) + lab.run(
        node, "sysctl", "net.ipv4.ip_forward"
    )


@pytest.mark.debian
def test_namespaces_that_were_laid_in_are_as_others(lab: Lab) -> None:
    lab.hosts("plain")
    before = labs_by_marks()
    with Zygotes(lab.name, 1, likely=3) as zygotes:
        (pid,) = zygotes.pids
        home = os.stat("/proc/self/ns/net").st_ino
        until = time.monotonic() + 20
        while len(spare := laid_in(pid) - {home}) < 3:
            assert time.monotonic() < until, spare
            time.sleep(0.01)
        assert labs_by_marks() == before, "nothing of them is anywhere else"
        lab.namespaces.zygotes = zygotes
        hosts = [lab.host(node) for node in ("a", "b", "c", "d")]
        lab.must(*hosts)
        assert laid_in(pid) == {home}
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16] == "0", (
            "it is nice no more"
        )
    inodes = {node: lab.handles[node].inode for node in "abcd"}
    assert len(set(inodes.values())) == 4
    assert len(spare & set(inodes.values())) == 3
    assert len({net_settings(lab, node) for node in ("plain", "a", "b", "c", "d")}) == 1
    assert "UP" in lab.ip("a", "address")[0]["flags"]
    nices = {
        Path(f"/proc/{lab.handles[n].pid}/stat").read_text().rpartition(")")[2].split()[16] for n in "ad"
    }
    assert nices == {"0"}


def test_what_was_laid_in_goes_with_its_zygote(lab_name: str) -> None:
    with Zygotes(lab_name, 1, likely=1000) as zygotes:
        (pid,) = zygotes.pids
        until = time.monotonic() + 20
        while len(laid_in(pid)) < 5:
            assert time.monotonic() < until
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 5, "it does not go on to the thousandth"
    assert lab_name not in labs_by_marks()


def test_a_hundred_hosts_come_in_one_batch(lab_name: str, tmp_path: Path) -> None:
    with Zygotes(lab_name) as zygotes:
        backend = NamespaceBackend(lab_name, tmp_path, zygotes)
        try:
            list(backend.create([Scratch(id="s")], {}))
            batch = [
                Host(id=f"h{i}", node=f"h{i}", name=f"vtopo.{lab_name}.h{i}", hostname="h")
                for i in range(100)
            ]
            outcomes = list(backend.create(batch, {}))
            assert {type(o) for o in outcomes} == {Done}
            assert len({os.stat(f"/run/netns/{h.name}").st_ino for h in batch}) == 100
        finally:
            backend.sweep()
