"""Containers as Docker tells of them: made as asked, changed in place, repaired, gone without a trace."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from containers import OBEDIENT, Dockers, free_port
from docker.errors import APIError
from engine import IMAGE
from lab import end, veth

from vtopo.backends.base import Failed
from vtopo.backends.docker_backend import DockerBackend
from vtopo.backends.docker_marks import labs
from vtopo.backends.marks import labs_by_marks
from vtopo.backends.netlink import NetlinkBackend
from vtopo.compile.resources import Address, Build, Container, DeviceAccess, DeviceIo, FileIn, Mount, Port

MIB = 1 << 20


# What it is


def test_a_container_is_as_asked(dockers: Dockers, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "greeting").write_text("hello\n")
    data = dockers.volume("data")
    web = dockers.container(
        "rack1.web",
        command=("-c", "trap 'exit 0' TERM; while :; do sleep 1; done"),
        entrypoint=("/bin/sh",),
        env=("COLOUR=blue green", "QUOTE='$(id)'"),
        user="www",
        workdir="/var",
        mounts=(
            Mount(source=str(tmp_path), target="/etc/shop", read_only=True),
            Mount(source=data.name, target="/data", volume=True),
        ),
        labels=(("team", "shop"),),
        cap_add=("NET_ADMIN",),
        cap_drop=("MKNOD",),
        restart="on-failure:3",
        devices=(DeviceAccess(device="/dev/zero", access="rw"),),
        sysctls=(("net.ipv4.ip_default_ttl", "33"),),
    )
    dockers.must(data)
    dockers.must(web)
    told = dockers.inspect("rack1.web")
    config, host = told["Config"], told["HostConfig"]
    assert (config["Cmd"], config["Entrypoint"]) == (list(web.command or ()), ["/bin/sh"])
    assert (config["User"], config["WorkingDir"], config["Hostname"]) == ("www", "/var", "rack1.web")
    assert (config["Tty"], config["OpenStdin"]) == (True, True)
    assert config["Labels"] == {"team": "shop", "vtopo.lab": dockers.lab, "vtopo.node": "rack1.web"}
    assert (host["CapAdd"], host["CapDrop"]) == (["NET_ADMIN"], ["MKNOD"])
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["NetworkMode"] == "none"
    assert dockers.run("rack1.web", "sh", "-c", "cat /etc/shop/greeting; echo $COLOUR $QUOTE; id -un") == (
        "hello\nblue green '$(id)'\nwww\n"
    )
    assert dockers.run("rack1.web", "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "33\n"
    with pytest.raises(AssertionError, match="Read-only"):
        dockers.run("rack1.web", "touch", "/etc/shop/x")
    mounts = {m["Destination"]: m["Type"] for m in told["Mounts"]}
    assert mounts == {"/etc/shop": "bind", "/data": "volume"}
    assert dockers.seen(web) == web


def test_a_shell_image_stays_up_since_it_has_a_terminal(dockers: Dockers) -> None:
    dockers.must(dockers.container("a"))
    time.sleep(0.3)
    assert dockers.inspect("a")["State"]["Status"] == "running"
    assert dockers.inspect("a")["Config"]["Cmd"] == ["sh"]


def test_a_privileged_container_may_do_all(dockers: Dockers) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    bounds = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    full = (1 << last + 1) - 1
    a = dockers.container("a", privileged=True)
    if int(bounds, 16) != full:  # a machine where root itself may not do all
        (failed,) = dockers.make(a)
        assert isinstance(failed, Failed)
        assert failed.reason == (
            "the engine itself lacks rights that `privileged on` gives: unable to apply caps: operation not permitted"
        )
        return
    dockers.must(a, dockers.container("b"))
    assert int(_status(dockers, "a", "CapEff"), 16) == full
    assert int(_status(dockers, "b", "CapEff"), 16) < full


def _status(dockers: Dockers, node: str, key: str) -> str:
    text = Path(f"/proc/{dockers.inspect(node)['State']['Pid']}/status").read_text()
    return next(line.split()[1] for line in text.splitlines() if line.startswith(f"{key}:"))


def test_its_handle_is_its_process_and_its_namespace_has_a_name(dockers: Dockers) -> None:
    a = dockers.container("a")
    dockers.must(a)
    pid = dockers.inspect("a")["State"]["Pid"]
    inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
    assert (dockers.handles[a.id].pid, dockers.handles[a.id].inode) == (pid, inode)
    assert Path("/run/netns", dockers.name("a")).stat().st_ino == inode
    assert "lo:" in dockers.netns("a", "ip", "link")


def test_its_files_are_there_before_it_starts(dockers: Dockers) -> None:
    page = FileIn(path="/srv/www/index.html", content="<h1>$(id)</h1>\n", owner="www")
    key = FileIn(path="/etc/shop/key", content="AAH/", binary=True, mode=0o600, owner="7:8")
    a = dockers.container("a", command=("sh", "-c", "cat /srv/www/index.html && exec sh"), files=(page, key))
    dockers.must(a)
    assert dockers.docker.logs(dockers.name("a")).startswith(b"<h1>$(id)</h1>\r\n")
    assert dockers.run("a", "stat", "-c", "%a %u %g %s", page.path, key.path) == "644 80 80 15\n600 7 8 3\n"
    assert dockers.seen(a) == a
    dockers.run("a", "sh", "-c", f"echo other > {page.path}; chmod 644 {key.path}")
    drifted = replace(a, files=(replace(page, content="other\n"), replace(key, mode=0o644)))
    assert dockers.seen(a) == drifted
    more = replace(a, files=(page, key, FileIn(path="/new", content="new\n")))
    assert more.changes_in_place("files", drifted)
    assert not drifted.changes_in_place("files", more), (
        "what the image has there shows again only in a new one"
    )
    dockers.change(drifted, more)
    assert dockers.seen(more) == more
    dockers.run("a", "rm", "/new")
    assert dockers.seen(more) == replace(more, files=(page, key))


def test_a_file_of_nobody_the_image_knows_fails(dockers: Dockers) -> None:
    (failed,) = dockers.make(dockers.container("a", files=(FileIn(path="/x", content="", owner="smith"),)))
    assert isinstance(failed, Failed)
    assert failed.reason == "the container's /etc/passwd has no smith"
    assert dockers.backend.traces() == []


# Limits


LIMITS = {
    "cpu_quota": 50_000,
    "cpu_weight": 512,
    "cpuset": "0",
    "memory": 64 * MIB,
    "memory_reservation": 32 * MIB,
    "swap": 16 * MIB,
    "pids": 40,
}


def test_limits_are_those_of_docker_and_of_the_kernel(dockers: Dockers) -> None:
    rates = DeviceIo(device=_disk(), read_bytes=10 * MIB, write_bytes=5 * MIB, read_iops=1000, write_iops=500)
    a = dockers.container("a", **LIMITS, swappiness=10, oom="pause", io=(rates,))
    dockers.must(a)
    host = dockers.inspect("a")["HostConfig"]
    assert (host["CpuPeriod"], host["CpuQuota"], host["CpuShares"]) == (100_000, 50_000, 512)
    assert (host["CpusetCpus"], host["PidsLimit"]) == ("0", 40)
    assert (host["Memory"], host["MemoryReservation"], host["MemorySwap"]) == (64 * MIB, 32 * MIB, 80 * MIB)
    assert (host["MemorySwappiness"], host["OomKillDisable"]) == (10, True)
    assert host["BlkioDeviceReadBps"] == [{"Path": _disk(), "Rate": 10 * MIB}]
    assert host["BlkioDeviceWriteIOps"] == [{"Path": _disk(), "Rate": 500}]
    if Path("/sys/fs/cgroup/memory").is_dir():
        assert dockers.cgroup("a", "cpu", "cpu.cfs_quota_us") == "50000"
        assert dockers.cgroup("a", "cpu", "cpu.shares") == "512"
        assert dockers.cgroup("a", "cpuset", "cpuset.cpus") == "0"
        assert dockers.cgroup("a", "pids", "pids.max") == "40"
        assert dockers.cgroup("a", "memory", "memory.limit_in_bytes") == str(64 * MIB)
        assert dockers.cgroup("a", "memory", "memory.soft_limit_in_bytes") == str(32 * MIB)
        assert dockers.cgroup("a", "memory", "memory.memsw.limit_in_bytes") == str(80 * MIB)
        assert dockers.cgroup("a", "memory", "memory.swappiness") == "10"
        assert "oom_kill_disable 1" in dockers.cgroup("a", "memory", "memory.oom_control")
        number = os.stat(_disk()).st_rdev  # noqa: PTH116
        disk = f"{os.major(number)}:{os.minor(number)}"
        for file, rate in (
            ("read_bps", 10 * MIB),
            ("write_bps", 5 * MIB),
            ("read_iops", 1000),
            ("write_iops", 500),
        ):
            assert dockers.cgroup("a", "blkio", f"blkio.throttle.{file}_device") == f"{disk} {rate}"
    assert dockers.seen(a) == a


def _disk() -> str:
    return next(
        f"/dev/{p.name}" for p in sorted(Path("/sys/block").iterdir()) if Path("/dev", p.name).exists()
    )


def test_limits_change_in_place_and_the_process_stays(dockers: Dockers) -> None:
    a = dockers.container("a")
    dockers.must(a)
    pid = dockers.inspect("a")["State"]["Pid"]
    limited = replace(a, **LIMITS, restart="always")
    dockers.change(a, limited)
    assert dockers.seen(limited) == limited
    if Path("/sys/fs/cgroup/memory").is_dir():
        assert dockers.cgroup("a", "memory", "memory.memsw.limit_in_bytes") == str(80 * MIB)
        assert dockers.cgroup("a", "cpuset", "cpuset.cpus") == "0"
    lifted = replace(a, cpuset="0", memory_reservation=32 * MIB)
    assert all(
        lifted.changes_in_place(name, limited)
        for name in ("cpu_quota", "cpu_weight", "memory", "swap", "pids", "restart")
    )
    dockers.change(limited, lifted)
    assert dockers.seen(lifted) == lifted
    if Path("/sys/fs/cgroup/memory").is_dir():
        assert dockers.cgroup("a", "cpu", "cpu.cfs_quota_us") == "-1"
        assert dockers.cgroup("a", "pids", "pids.max") == "max"
        for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            assert int(dockers.cgroup("a", "memory", file)) > 1 << 60
    assert dockers.inspect("a")["State"]["Pid"] == pid
    assert not a.changes_in_place("cpuset", limited), "Docker cannot lift it"
    assert not replace(a, image="other:1").changes_in_place("image", a)


def test_what_somebody_limits_by_hand_shows(dockers: Dockers) -> None:
    a = dockers.container("a", memory=64 * MIB)
    dockers.must(a)
    dockers.docker.update_container(
        dockers.name("a"), mem_limit=32 * MIB, memswap_limit=32 * MIB, cpu_shares=2
    )
    assert dockers.seen(a) == replace(a, memory=32 * MIB, swap=0, cpu_weight=2)
    dockers.change(dockers.seen(a), a)
    assert dockers.seen(a) == a


# Networks


def _link(dockers: Dockers, *nodes: str) -> NetlinkBackend:
    """Join two containers by a veth pair as a lab does, with 10.9.0.1 and 10.9.0.2."""
    netlink = NetlinkBackend(dockers.lab)
    ids = [f"{node}/container" for node in nodes]
    pair = veth(end(ids[0], "eth1", 1), end(ids[1], "eth1", 2))
    addresses = [
        Address(id=f"{id_}/address", netns=id_, device="eth1", address=f"10.9.0.{n}/24")
        for n, id_ in enumerate(ids, 1)
    ]
    for batch in ([pair], addresses):
        assert [o for o in netlink.create(batch, dockers.handles) if isinstance(o, Failed)] == []
    return netlink


def test_links_are_born_in_the_containers_and_they_ping(dockers: Dockers) -> None:
    dockers.must(dockers.container("a"), dockers.container("b"))
    netlink = _link(dockers, "a", "b")
    assert "1 packets received" in dockers.run("a", "ping", "-c1", "-W9", "10.9.0.2")
    assert dockers.run("a", "ls", "/sys/class/net") == "eth1\nlo\n"
    netlink.close()


def test_network_none_is_a_loopback_only(dockers: Dockers) -> None:
    dockers.must(dockers.container("a"))
    assert dockers.run("a", "ls", "/sys/class/net") == "lo\n"


def test_network_bridge_publishes_ports(dockers: Dockers) -> None:
    port, udp = free_port(), free_port()
    script = "echo lab > /tmp/index.html; httpd -f -p 80 -h /tmp"
    web = dockers.container(
        "web",
        command=("sh", "-c", script),
        network="bridge",
        publish=(
            Port(host=port, container=80),
            Port(host=udp, container=53, protocol="udp", address="127.0.0.1"),
        ),
    )
    assert dockers.why_unable(web) == []
    dockers.must(web)
    assert b"lab" in _get(port)
    assert dockers.run("web", "ls", "/sys/class/net") == "eth0\nlo\n"
    told = dockers.inspect("web")["NetworkSettings"]["Ports"]
    assert {"HostIp": "127.0.0.1", "HostPort": str(udp)} in told["53/udp"]
    assert "172." in dockers.run("web", "ip", "-4", "-o", "address", "show", "eth0")
    assert dockers.seen(web) == web


def _get(port: int) -> bytes:
    for _ in range(50):
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(4096), b""))
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody at port {port}")


def test_network_host_is_the_machines(dockers: Dockers) -> None:
    a = dockers.container("a", network="host")
    dockers.must(a)
    pid = dockers.inspect("a")["State"]["Pid"]
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
    assert not Path("/run/netns", dockers.name("a")).exists()
    assert dockers.seen(a) == a


def test_network_container_is_that_of_another(dockers: Dockers) -> None:
    web = dockers.container("web")
    side = dockers.container("side", network="container", network_of=dockers.name("web"), command=OBEDIENT)
    dockers.must(web)
    dockers.must(side)
    inodes = {
        Path(f"/proc/{dockers.inspect(n)['State']['Pid']}/ns/net").stat().st_ino for n in ("web", "side")
    }
    assert len(inodes) == 1
    dockers.run("web", "sh", "-c", "httpd -p 8080 -h /etc")
    assert "root:" in dockers.run("side", "wget", "-qO-", "http://127.0.0.1:8080/passwd")
    dockers.docker.restart(dockers.name("web"), timeout=0)
    found = dockers.backend.observe([web, side], dockers.handles)
    assert found[side.id].found == replace(side, state="detached")
    dockers.change(found[web.id].found, web)
    dockers.change(found[side.id].found, side)
    assert {i: p.found for i, p in dockers.backend.observe([web, side], dockers.handles).items()} == {
        web.id: web,
        side.id: side,
    }


# Drift


def test_a_container_that_docker_restarts_has_lost_its_links(dockers: Dockers) -> None:
    a, b = dockers.container("a"), dockers.container("b")
    dockers.must(a, b)
    netlink = _link(dockers, "a", "b")
    dockers.docker.restart(dockers.name("a"), timeout=0)
    assert dockers.seen(a) == replace(a, netns="")
    assert dockers.seen(b) == b
    dockers.change(replace(a, netns=""), a)
    assert dockers.seen(a) == a
    pid = dockers.inspect("a")["State"]["Pid"]
    assert Path("/run/netns", dockers.name("a")).stat().st_ino == Path(f"/proc/{pid}/ns/net").stat().st_ino
    netlink.close()
    netlink = _link(dockers, "a", "b")
    assert "1 packets received" in dockers.run("a", "ping", "-c1", "-W9", "10.9.0.2")
    netlink.close()


def test_a_container_that_was_stopped_or_paused_runs_again_with_what_it_wrote(dockers: Dockers) -> None:
    a = dockers.container("a", command=OBEDIENT)
    dockers.must(a)
    dockers.run("a", "sh", "-c", "echo kept > /note")
    dockers.docker.stop(dockers.name("a"), timeout=0)
    assert dockers.seen(a).state == "stopped"
    dockers.change(dockers.seen(a), a)
    assert dockers.seen(a) == a
    assert dockers.run("a", "cat", "/note") == "kept\n"
    dockers.docker.pause(dockers.name("a"))
    assert dockers.seen(a) == replace(a, state="paused")
    dockers.change(replace(a, state="paused"), a)
    assert dockers.inspect("a")["State"]["Status"] == "running"
    dockers.change(a, replace(a, state="stopped"))
    assert dockers.inspect("a")["State"]["Status"] == "exited", "as an undo does it"


def test_a_container_that_was_renamed_is_still_known_and_named_again(dockers: Dockers) -> None:
    a = dockers.container("a")
    dockers.must(a)
    other = f"{dockers.lab}-other"
    dockers.docker.rename(dockers.name("a"), other)
    assert dockers.seen(a) == replace(a, name=other)
    dockers.change(dockers.seen(a), a)
    assert dockers.seen(a) == a
    dockers.docker.rename(dockers.name("a"), other)
    dockers.take_away(a)
    assert dockers.backend.traces() == []


def test_what_is_gone_is_not_found(dockers: Dockers) -> None:
    a, v = dockers.container("a"), dockers.volume("v")
    dockers.must(v)
    dockers.must(a)
    dockers.docker.remove_container(dockers.name("a"), force=True)
    dockers.docker.remove_volume(v.name)
    assert dockers.backend.observe([a, v], dockers.handles) == {}
    dockers.take_away(a)
    dockers.take_away(v)


# Images


def test_an_image_is_built_once_and_goes_with_the_lab(dockers: Dockers, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY note /note\n")
    (tmp_path / "note").write_text("built\n")
    image = f"vtopo-build:{dockers.lab}"
    build = Build(context=str(tmp_path), digest=dockers.lab)
    a, b = (dockers.container(n, build=build, image=image) for n in "ab")
    dockers.must(a, b)
    assert dockers.run("b", "cat", "/note") == "built\n"
    assert [t.finished for t in dockers.transfers] == [False, True]
    assert dockers.docker.inspect_image(image)["Config"]["Labels"]["vtopo.lab"] == dockers.lab
    dockers.take_away(a)
    assert dockers.docker.inspect_image(image), "b uses it"
    dockers.take_away(b)
    with pytest.raises(APIError, match="No such image"):
        dockers.docker.inspect_image(image)


def test_a_build_that_fails_says_where(dockers: Dockers, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo missing a part; false\n")
    build = Build(context=str(tmp_path), digest="")
    (failed,) = dockers.make(dockers.container("a", build=build, image=f"vtopo-build:{dockers.lab}"))
    assert isinstance(failed, Failed)
    assert f"the build of {tmp_path} failed" in failed.reason
    assert "returned a non-zero code: 1" in failed.reason
    assert "missing a part" in failed.reason


# Marks


def test_marks_find_all_of_a_lab_without_records(dockers: Dockers) -> None:
    dockers.must(dockers.volume("v"))
    dockers.must(dockers.container("a"), dockers.container("b.c"))
    traces = {
        f"container {dockers.name('a')}",
        f"container {dockers.name('b.c')}",
        f"volume {dockers.name('v')}",
    }
    backend = DockerBackend(dockers.lab)
    assert set(backend.traces()) == traces
    for name in ("a", "b.c"):
        (Path("/run/netns") / dockers.name(name)).unlink()
    assert dockers.lab in labs()
    assert dockers.lab in labs_by_marks(), "after a reboot a container has no other mark"
    assert set(backend.sweep()) == traces
    assert backend.traces() == []
    assert dockers.lab not in labs()


def test_what_a_killed_run_left_is_replaced(dockers: Dockers) -> None:
    a = dockers.container("a")
    dockers.must(a)
    first = dockers.inspect("a")["Id"]
    dockers.must(a)
    assert dockers.inspect("a")["Id"] != first


def test_somebody_elses_volume_is_left_alone(dockers: Dockers) -> None:
    v = dockers.volume("v")
    dockers.docker.create_volume(v.name)
    try:
        assert dockers.why_unable(v) == [f"there is a Docker volume {v.name} that is not vtopo's"]
        (failed,) = dockers.make(v)
        assert isinstance(failed, Failed)
        dockers.take_away(v)
        assert dockers.docker.inspect_volume(v.name)
    finally:
        dockers.docker.remove_volume(v.name)


def test_everything_that_containers_are_fits_in_a_record() -> None:
    from vtopo.state.spec import from_text, to_text

    full = Container(
        id="a/container",
        node="a",
        name="vtopo.x.a",
        netns=None,
        hostname="a",
        image="i",
        build=Build(context="/b", digest="d"),
        mounts=(Mount(source="/a", target="/b"),),
        labels=(("a", "b"),),
        publish=(Port(host=1, container=2),),
        devices=(DeviceAccess(device="/dev/kvm", access="rw"),),
        io=(DeviceIo(device="/dev/vda", write_iops=9),),
    )
    assert from_text("container", to_text(full)) == full
