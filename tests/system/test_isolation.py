"""What a host is set apart by: its namespaces, its own ids, another root. The kernel is asked, and who is inside."""

# ruff: noqa: PTH116

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Vtopo, eventually, marked
from groups import Groups, version
from ordinary_user import User

KINDS = ("pid", "net", "mnt", "uts", "ipc", "user", "cgroup", "time")
USUAL = {"pid", "net", "mnt", "uts", "ipc", "cgroup"}
OUTSIDE = 61003  # a user of the machine that nobody is


def init(vtopo: Vtopo, node: str) -> int:
    """The first process of a host, whatever namespaces it has."""
    title = f"vtopo-init {vtopo.lab} {node}\0".encode()
    (pid,) = (p for p in marked(vtopo.lab) if Path(f"/proc/{p}/cmdline").read_bytes() == title)
    return pid


def own(vtopo: Vtopo, node: str) -> set[str]:
    """The kinds of namespaces that a host does not share with the machine."""
    pid = init(vtopo, node)
    return {k for k in KINDS if os.stat(f"/proc/{pid}/ns/{k}").st_ino != os.stat(f"/proc/self/ns/{k}").st_ino}


@pytest.mark.debian
def test_a_host_has_the_namespaces_that_it_names_and_no_other(vtopo: Vtopo) -> None:
    wanted = {
        "usual": USUAL,
        "all": set(KINDS),
        "net": {"net"},
        "clock": {"uts", "time"},
        "files": {"pid", "mnt", "user"},
        "users": {"user", "cgroup"},
        "mail": {"ipc", "mnt"},
    }
    lines = [f"host {node} {{ namespaces [{', '.join(kinds)}] }}" for node, kinds in wanted.items()]
    lab = vtopo.write("\n".join(["host usual", *lines[1:]]))
    vtopo("up", lab)
    assert {node: own(vtopo, node) for node in wanted} == wanted
    assert "nothing to do" in vtopo("up", lab).out

    here = os.uname().nodename
    names = {node: vtopo.exec(node, "hostname").out.strip() for node in wanted}
    assert names == {node: node if "uts" in kinds else here for node, kinds in wanted.items()}
    seen = {
        node: len(vtopo.exec(node, "ps", "-A", "-o", "pid=").out.split()) for node in ("all", "files", "net")
    }
    assert seen["all"] == seen["files"] == 2  # its init, and ps
    assert seen["net"] > 2
    # Its network is its own, but /sys is the machine's.
    interfaces = sorted(path.name for path in Path("/sys/class/net").iterdir())
    assert sorted(vtopo.exec("net", "ls", "/sys/class/net").out.split()) == interfaces
    assert vtopo.exec("net", "cat", "/proc/net/dev").out.count(":") == 1
    assert vtopo.exec("clock", "cat", "/proc/self/timens_offsets").out.split() == [
        "monotonic",
        "0",
        "0",
        "boottime",
        "0",
        "0",
    ]
    vtopo.exec("mail", "ipcmk", "-M", "4096")
    assert "0x" in vtopo.exec("mail", "ipcs", "-m").out
    assert "0x" not in vtopo.exec("usual", "ipcs", "-m").out

    changed = vtopo.write("\n".join(["host usual", *lines[1:]]).replace("[net]", "[net, uts]"))
    plan = vtopo("plan", changed, "--json").json
    assert {s["id"]: s["change"] for s in plan["steps"]} == {"net/host": "replace"}
    vtopo("up", changed)
    assert own(vtopo, "net") == {"net", "uts"}


def test_what_a_host_without_a_pid_namespace_started_ends_with_it(vtopo: Vtopo) -> None:
    script = "setsid sleep 1003 & exec sleep 1004"
    text = f'host a {{ namespaces [net]; run "{script}" }}\nhost b {{ namespaces [uts]; run ["sleep", "1005"] }}\n'
    vtopo("up", vtopo.write(text))

    def running(seconds: str) -> list[int]:
        return [p for p in marked(vtopo.lab) if seconds in Path(f"/proc/{p}/cmdline").read_text()]

    eventually(lambda: running("1003") and running("1004"))
    vtopo("node", "a", "stop", "--lab", vtopo.lab)
    assert not running("1003") + running("1004")
    assert running("1005")
    assert Path(f"/proc/{init(vtopo, 'a')}").exists()
    vtopo("node", "a", "start", "--lab", vtopo.lab)
    eventually(lambda: running("1003"))
    assert vtopo("stats", vtopo.lab, "--json").json["nodes"][0]["pids"] == 3
    vtopo("node", "a", "kill", "--lab", vtopo.lab)
    assert not running("1003")
    vtopo("up", vtopo.write(text))
    eventually(lambda: running("1003"))
    shutil.rmtree(vtopo.state)  # by marks alone
    vtopo("down", vtopo.lab)
    assert marked(vtopo.lab) == []


@pytest.mark.debian
@pytest.mark.skipif(version("pids") == 0, reason="this kernel has no pids controller")
def test_a_host_sees_its_control_group_as_the_topmost(vtopo: Vtopo) -> None:
    vtopo(
        "up",
        vtopo.write(
            "host a { pids 30; memory 64MiB }\nhost b { pids 1 }\nhost c { namespaces [pid, mnt]; pids 30 }\n"
            f"host d {{ namespaces [{', '.join(KINDS)}]; pids 1; memory 4MiB }}\n"
        ),
    )
    for node in ("a", "b", "d"):
        assert Groups(init(vtopo, node)).folder("pids").name == f"{node}.host"
    lines = vtopo.exec("a", "cat", "/proc/self/cgroup").out.splitlines()
    assert {
        line.split(":", 2)[2]
        for line in lines
        if line.startswith("0:") or ":pids:" in line or ":memory:" in line
    } == {"/"}
    assert vtopo.lab in vtopo.exec("c", "cat", "/proc/self/cgroup").out


@pytest.mark.debian
@pytest.mark.skipif(version("pids") == 0, reason="this kernel has no pids controller")
def test_a_daemon_is_in_all_that_is_its_hosts_and_has_nothing_else(vtopo: Vtopo) -> None:
    kinds = ", ".join(KINDS)
    line = (
        f'host a {{ namespaces [{kinds}]; map uid 0 -> {OUTSIDE} count 9; pids 9; run ["sleep", "1006"] }}\n'
    )
    vtopo("up", vtopo.write(line))
    (pid,) = (p for p in marked(vtopo.lab) if b"1006" in Path(f"/proc/{p}/cmdline").read_bytes())
    for kind in KINDS:
        assert (
            os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(f"/proc/{init(vtopo, 'a')}/ns/{kind}").st_ino
        )
    assert Groups(pid).folder("pids").name == "a.host"
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(OUTSIDE)] * 4
    assert status["Groups"].strip() == ""
    assert status["Umask"] == "0022"
    assert {int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")} == {0}
    assert {fd: os.readlink(f"/proc/{pid}/fd/{fd}")[:5] for fd in os.listdir(f"/proc/{pid}/fd")} == {  # noqa: PTH115, PTH208
        "0": "/dev/",
        "1": "pipe:",
        "2": "pipe:",
    }
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"  # noqa: PTH115
    limits = Path(f"/proc/{pid}/limits").read_text(), Path("/proc/self/limits").read_text()
    assert len({next(line for line in text.splitlines() if "open files" in line) for text in limits}) == 1


# Ids


@pytest.mark.debian
def test_root_inside_is_an_ordinary_user_outside(vtopo: Vtopo, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine's root\n")
    secret.chmod(0o600)
    lab = vtopo.write(
        f"""
host a {{
  map uid 0 -> {OUTSIDE} count 1
  env WHO "a"
  file "/etc/motd" "hello"
  bind "{secret}" -> "/srv/secret"
  exec "id -u > /root/ids; hostname >> /root/ids"
  run "echo as $(id -u) on $WHO; exec sleep 1006"
  ready log "as 0 on a"
}}
host b {{ map uid 0 -> 100000 count 65536 }}
link a 10.0.0.1/24 -- b 10.0.0.2/24
expect a reaches b
"""
    )
    vtopo("up", lab)
    pids = [p for p in marked(vtopo.lab) if f"/{p}/" and _namespace(p) == _namespace(init(vtopo, "a"))]
    assert len(pids) == 2  # its init and its daemon
    assert {os.stat(f"/proc/{p}").st_uid for p in pids} == {OUTSIDE}
    assert vtopo.exec("a", "sh", "-c", "echo $WHO").out == "a\n"
    assert vtopo.exec("a", "cat", "/root/ids", "/etc/motd").out == "0\na\nhello"
    assert (
        vtopo.exec("a", "stat", "-c", "%u:%g", "/", "/etc/motd", "/usr/bin/env", "/tmp").out.split()
        == ["0:0"] * 4
    )
    assert vtopo.exec("a", "sh", "-c", "rm /usr/bin/env && echo gone").out == "gone\n"
    assert Path("/usr/bin/env").exists()
    refused = vtopo.exec("a", "cat", "/srv/secret", status=1)
    assert "Permission denied" in refused.err
    assert vtopo.exec("a", "cat", "/proc/self/uid_map").out.split() == ["0", str(OUTSIDE), "1"]
    assert vtopo.exec("b", "sh", "-c", "touch /x && chown 33:33 /x && stat -c %u:%g /x").out == "33:33\n"
    assert (
        vtopo.exec(
            "a", "sh", "-c", "ip link set lo down && hostname changed && mount -t tmpfs none /mnt && hostname"
        ).out
        == "changed\n"
    )
    for script in (
        "echo 1 > /proc/sys/kernel/pid_max",
        "mount -o remount,rw,bind /sys && echo > /sys/kernel/uevent_helper",
    ):
        vtopo.exec("a", "sh", "-c", f"({script}) 2>/dev/null || exit 9", status=9)
    mounted = [line.split() for line in vtopo.exec("a", "cat", "/proc/self/mountinfo").out.splitlines()]
    assert [m[4] for m in mounted if m[m.index("-") + 1] == "proc"] == ["/proc", "/proc/sys", "/proc/sys/net"]
    assert [
        m[4] for m in mounted if m[m.index("-") + 1] not in ("proc", "sysfs", "devpts", "tmpfs", "overlay")
    ] == ["/srv/secret"]
    assert ", 0 failed" in vtopo("test", lab).out
    assert "no drift" in vtopo("status", vtopo.lab, "--exit-code").out
    plan = vtopo(
        "plan", vtopo.write(lab.read_text().split("\n", 1)[1].replace("hello", "again")), "--json"
    ).json
    assert {s["id"]: s["change"] for s in plan["steps"]} == {"a/file/etc/motd": "update"}


@pytest.mark.debian
def test_root_inside_sees_its_init_and_cannot_write_what_vtopo_runs(vtopo: Vtopo) -> None:
    """Its init's program is the machine's root's, who runs it outside, too (CVE-2019-5736)."""
    text = f"host a {{ namespaces [{', '.join(KINDS)}] }}\nhost b {{ map uid 0 -> {OUTSIDE} count 1 }}\n"
    vtopo("up", vtopo.write(text))
    for node in ("a", "b"):
        assert vtopo.exec(node, "ls", "/proc/1/fd").out.split() == ["0", "1", "2"]
        vtopo.exec(node, "test", "-r", "/proc/1/exe")
        vtopo.exec(node, "test", "-w", "/proc/1/exe", status=1)
        for kind in ("cgroup", "cgroup2"):  # where its limits are
            vtopo.exec(node, "sh", "-c", f"mount -t {kind} none /mnt 2>/dev/null || exit 9", status=9)


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/user")  # noqa: PTH115


def test_a_mapped_host_is_found_by_its_marks(vtopo: Vtopo) -> None:
    lab = vtopo.write(f'host a {{ map uid 0 -> {OUTSIDE} count 1; run ["sleep", "1007"] }}\n')
    vtopo("up", lab)
    shutil.rmtree(vtopo.state)
    vtopo("down", vtopo.lab)
    assert marked(vtopo.lab) == []
    vtopo("up", lab)
    os.kill(init(vtopo, "a"), signal.SIGKILL)
    vtopo("up", lab)
    assert "/root" in vtopo.exec("a", "sh", "-c", "cd; pwd").out


@pytest.fixture
def user(lab_name: str) -> Iterator[User]:
    one = User(OUTSIDE, lab_name)
    yield one
    one.close()


def test_without_root_only_ids_of_ones_own_can_be_given_away(user: User) -> None:
    refused = user("up", user.write("host a\nhost b { map uid 0 -> 5000 count 2 }\n"), status=1)
    assert "map uid 0 -> 5000 count 2: there is no user id 5000 here: without root" in refused.err
    assert "lab.vlab:3" in refused.err or ":3:" in refused.err
    assert "nothing was touched" in refused.err
    user(
        "up",
        user.write(
            'host b { map uid 0 -> 0 count 1; exec "touch /etc/x /x" }\nhost c { namespaces [net, uts] }\n'
        ),
    )
    assert user.exec("b", "id", "-u").out == "0\n"
    assert user.exec("c", "hostname").out == "c\n"
    user("down", user.lab)


# Roots


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small root: busybox, and a file."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox")
    root = tmp_path / "tree"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "cat", "ls", "id", "touch", "rm", "sleep", "hostname"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc/issue").write_text("a tree\n")
    return root


def digest(root: Path) -> str:
    """All that is in a tree: names, kinds, owners, modes, times, content."""
    told = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        told.update(repr((str(path), status.st_mode, status.st_uid, status.st_mtime_ns)).encode())
        told.update(path.read_bytes() if path.is_file() else b"")
    return told.hexdigest()


def test_another_root_is_seen_and_never_written(vtopo: Vtopo, tree: Path) -> None:
    before = digest(tree)
    lab = vtopo.write(
        f"""
host a {{ rootfs "tree"; file "/etc/motd" "of the lab"; run ["sleep", "1008"]; exec "rm /etc/issue; touch /bin/new" }}
host b {{ rootfs "tree"; map uid 0 -> {OUTSIDE} count 1 }}
host c
link a 10.0.0.1/24 -- b 10.0.0.2/24
link a:p 10.0.1.1/24 -- c 10.0.1.2/24
expect a reaches b
"""
    )
    vtopo("up", lab)
    assert sorted(vtopo.exec("a", "ls", "/").out.split()) == [
        "bin",
        "dev",
        "etc",
        "proc",
        "run",
        "sys",
        "tmp",
    ]
    assert "10.0.0.2 b" in vtopo.exec("a", "cat", "/etc/hosts").out
    assert vtopo.exec("a", "cat", "/etc/motd").out == "of the lab"
    assert vtopo.exec("b", "cat", "/etc/issue").out == "a tree\n"
    assert vtopo.exec("b", "sh", "-c", "id -u; touch /etc/issue && rm /bin/id; hostname").out == "0\nb\n"
    assert ", 0 failed" in vtopo("test", lab).out
    shell = subprocess.run(
        vtopo.argv("shell", "--lab", vtopo.lab, "a"), env={**vtopo.environment(), "SHELL": "/bin/bash"},
        input="hostname\n", text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert shell.stdout == "a\n"  # /bin/sh of the tree: it has no bash
    vtopo("down", vtopo.lab)
    assert digest(tree) == before


def test_a_root_that_cannot_be_is_refused_before_anything_is_made(vtopo: Vtopo, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    roots = {"a": "none", "b": "empty", "c": "file", "d": "/proc"}
    text = "\n".join(["host ok", *(f'host {node} {{ rootfs "{root}" }}' for node, root in roots.items())])
    refused = vtopo("up", vtopo.write(text), status=1)
    assert f"rootfs {tmp_path}/none: No such file or directory on this machine" in refused.err
    assert f"rootfs {tmp_path}/empty: it is empty" in refused.err
    assert f"rootfs {tmp_path}/file: Not a directory on this machine" in refused.err
    assert "rootfs /proc: overlayfs does not take it as a layer" in refused.err
    assert f"{vtopo.folder / vtopo.lab}.vlab:3:6" in refused.err
    assert "nothing was touched" in refused.err
    assert vtopo.names() == []
