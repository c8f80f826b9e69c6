"""What goes on in containers, by the command line: commands, daemons, readiness, order, faults; asked of the kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from cli import Vtopo, eventually, identity, pids
from containers import Dockers
from engine import IMAGE, MUTE, root
from lab import Lab
from registry import registry

from vtopo.backends.base import Failed, Handle
from vtopo.compile.resources import Exec, Ready, Run, Supervisor

OBEDIENT = "trap 'exit 0' TERM; echo up and running; while :; do sleep 0.1; done"
LAB = f"""\
bridge lan {{ subnet 10.0.0.0/24 }}
container db {{
  image "{IMAGE}"
  command "{OBEDIENT}"
  env COLOUR "deep blue"
  file "/etc/db.conf" "at ${{self.eth0.address}}"
  sysctl "net.ipv4.tcp_ecn" 1
  exec "echo $COLOUR $(cat /etc/db.conf) >> /made"
  run "echo serving; exec httpd -f -p 80 -h /etc"
  ready tcp 80
  ready "test -e /made"
  ready log "running"
}}
container web {{ image "{IMAGE}"; command "{OBEDIENT}"; after db; ready log "up and" }}
host h {{ after web; run "exec sleep 1000" }}
link h -- lan
link db -- lan
link web:x 10.1.0.1/24 -- db:x 10.1.0.2/24
"""


class Dockered:
    """The command, and what Docker and the kernel say of the containers of its lab."""

    def __init__(self, vtopo: Vtopo, client: docker.APIClient) -> None:
        self.vtopo = vtopo
        self.docker = client

    def told(self, node: str) -> Any:
        return self.docker.inspect_container(f"vtopo.{self.vtopo.lab}.{node}")

    def init(self, node: str) -> int:
        return int(self.told(node)["State"]["Pid"])

    def processes(self, node: str, word: str) -> list[int]:
        """The processes of a container with `word` in their command lines, but for its first."""
        init = self.init(node)
        inside = os.stat(f"/proc/{init}/ns/pid").st_ino  # noqa: PTH116
        return [pid for pid in pids() if pid != init and _is(pid, inside, word)]

    def run(self, node: str, *argv: str) -> str:
        """The output of a command in a container, by docker(1)'s way in."""
        made = self.docker.exec_create(f"vtopo.{self.vtopo.lab}.{node}", list(argv))
        out: bytes = self.docker.exec_start(made["Id"])
        return out.decode()

    def pings(self) -> bool:
        """Whether the host reaches db, and db web."""
        h, db = self.vtopo.node("h"), self.run("db", "ping", "-c1", "-W1", "10.1.0.1")
        return "1 received" in h.run("ping", "-c1", "-W1", "10.0.0.2") and "1 packets received" in db


def _is(pid: int, inside: int, word: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return os.stat(f"/proc/{pid}/ns/pid").st_ino == inside and word in command  # noqa: PTH116
    except OSError:
        return False


def status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


@pytest.fixture
def shop(vtopo: Vtopo, engine: docker.APIClient) -> Dockered:
    return Dockered(vtopo, engine)


def test_containers_live_as_hosts_do(shop: Dockered) -> None:
    vtopo = shop.vtopo
    file = vtopo.write(LAB)
    vtopo("up", file)
    assert shop.pings()
    assert shop.run("db", "cat", "/made") == "deep blue at 10.0.0.2\n"
    assert vtopo.node("db").ip("link"), "its namespace has a name"
    assert shop.run("db", "cat", "/proc/sys/net/ipv4/tcp_ecn") == "1\n"
    starts = [shop.told(n)["State"]["StartedAt"] for n in ("db", "web")]
    (served,) = shop.processes("db", "httpd")
    assert starts == sorted(starts)
    assert _age(served) >= _age(shop.init("web")), "web was made when db was ready"

    # A daemon has the rights and the cgroups of its container, and no more.
    for key in ("CapEff", "CapBnd", "Seccomp", "NoNewPrivs"):
        assert status(served, key) == status(shop.init("db"), key)
    assert Path(f"/proc/{served}/cgroup").read_text() == Path(f"/proc/{shop.init('db')}/cgroup").read_text()

    assert "nothing to do" in vtopo("up", file).out
    assert "serving\n" in vtopo("logs", "db").out
    assert vtopo("logs", "db", "main").out == "up and running\n"
    used = {n["node"]: n for n in vtopo("stats", vtopo.lab, "--json").json["nodes"]}
    assert (used["db"]["kind"], used["db"]["pids"] >= 2, used["db"]["cpu_usec"] > 0) == (
        "container",
        True,
        True,
    )

    # An edit of a daemon is of that daemon alone; one that ends is started again.
    vtopo("up", vtopo.write(LAB.replace("echo serving; exec httpd -f", "echo again; exec httpd -vf")))
    assert shop.processes("db", "httpd -f") == []
    (other,) = shop.processes("db", "httpd -vf")
    os.kill(other, signal.SIGKILL)
    eventually(lambda: shop.processes("db", "httpd -vf") not in ([], [other]))
    assert shop.run("db", "cat", "/made") == "deep blue at 10.0.0.2\n", "once per making"

    # Without the supervisor its daemons end, which is drift.
    os.kill(supervisor_of(vtopo.lab), signal.SIGKILL)
    eventually(lambda: shop.processes("db", "httpd -vf") == [])
    vtopo("up", file)
    assert len(shop.processes("db", "httpd -vf")) == 1


def _age(pid: int) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(identity(pid)[2]) / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def supervisor_of(lab: str) -> int:
    """The process that keeps a lab's daemons."""
    (found,) = (
        p for p in pids() if "supervisor.py" in _command(p) and f"/{lab}" in _command(p) and _is_top(p)
    )
    return found


def _is_top(pid: int) -> bool:
    """Whether it is no fork of another of its kind."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return "supervisor.py" not in _command(parent)


def test_faults_of_containers(shop: Dockered) -> None:
    vtopo = shop.vtopo
    vtopo("up", vtopo.write(LAB))
    first = shop.told("db")["Id"]
    vtopo("node", "db", "stop")
    assert shop.told("db")["State"]["Status"] == "exited"
    assert {n["node"]: n["state"] for n in vtopo("status", vtopo.lab, "--json").json["nodes"]}[
        "db"
    ] == "stopped"
    vtopo("node", "web", "kill")
    vtopo("node", "db", "start")
    assert shop.told("web")["State"]["Status"] == "exited", "it waits for its own start"
    assert "1 received" in vtopo.node("h").run("ping", "-c1", "-W1", "10.0.0.2")
    vtopo("node", "web", "start")
    assert shop.pings()
    assert vtopo("status", vtopo.lab, "--exit-code").status == 0
    vtopo("node", "db", "restart")
    assert shop.pings()
    assert len(shop.processes("db", "httpd")) == 1
    assert shop.run("db", "cat", "/proc/sys/net/ipv4/tcp_ecn") == "1\n"
    assert (shop.told("db")["Id"], shop.run("db", "cat", "/made")) == (first, "deep blue at 10.0.0.2\n")
    vtopo("node", "db", "pause")
    assert shop.told("db")["State"]["Status"] == "paused"
    assert "error: `db`: the container is already paused\n" in vtopo("node", "db", "pause", status=1).err
    vtopo("node", "db", "resume")
    vtopo("node", "web", "kill")
    assert "error: `web`: the container is not running\n" in vtopo("node", "web", "kill", status=1).err
    vtopo("up", vtopo.folder / f"{vtopo.lab}.vlab")
    assert shop.pings()


def test_a_container_that_docker_starts_anew_is_plugged_in_again(shop: Dockered) -> None:
    vtopo = shop.vtopo
    vtopo("up", vtopo.write(LAB.replace("db {", "db {\n  restart always", 1)))
    first = shop.init("db")
    os.kill(first, signal.SIGKILL)  # its policy starts it again
    eventually(lambda: shop.init("db") not in (0, first), 60)
    eventually(lambda: not vtopo("plan", vtopo.folder / f"{vtopo.lab}.vlab", "--json").json["steps"], 60)
    assert shop.pings()
    assert len(shop.processes("db", "httpd")) == 1

    # After the machine was started anew a container has what it wrote, and its commands run again, as hosts' do.
    same = shop.told("db")["Id"]
    as_after_a_reboot(shop)
    vtopo("up", vtopo.folder / f"{vtopo.lab}.vlab")
    assert shop.pings()
    assert (shop.told("db")["Id"], shop.run("db", "cat", "/made")) == (same, "deep blue at 10.0.0.2\n" * 2)
    assert len(shop.processes("db", "httpd")) == 1


def as_after_a_reboot(shop: Dockered) -> None:
    """The lab's containers are there, stopped; of all else there are the records."""
    lab = shop.vtopo.lab
    os.kill(shop.vtopo.node("h").pid, signal.SIGKILL)
    os.kill(supervisor_of(lab), signal.SIGKILL)
    subprocess.run(["docker", "stop", "-t0", *(f"vtopo.{lab}.{node}" for node in ("db", "web"))], check=True)
    for name in Path("/run/netns").glob(f"vtopo.{lab}*"):
        subprocess.run(["umount", name], check=False, stderr=subprocess.DEVNULL)  # some are links
        name.unlink()
    subprocess.run(["umount", f"/run/vtopo/{lab}"], check=True)
    (records,) = Path(shop.vtopo.environment()["VTOPO_STATE_DIR"]).glob(f"labs/{lab}/state.db")
    with contextlib.closing(sqlite3.connect(records)) as db, db:
        db.execute("UPDATE meta SET value = 'an earlier one' WHERE key = 'boot'")


def test_containers_know_the_nodes_by_name_from_their_first_instruction(shop: Dockered) -> None:
    vtopo = shop.vtopo
    lab = f"""\
bridge lan {{ subnet 10.0.0.0/24 }}
container app {{
  image "{IMAGE}"
  network bridge
  command "grep -w db /etc/hosts && echo 10.9.9.9 mine >> /etc/hosts && {OBEDIENT}"
  exec "ping -c1 -W9 db"
}}
container db {{ image "{IMAGE}" }}
container own {{
  image "{IMAGE}"
  command "{OBEDIENT}"
  file "/etc/hosts" "10.8.8.8 other" {{ mode "0640" }}
  file "/etc/resolv.conf" "nameserver 10.0.0.2"
}}
link app -- lan
link db -- lan
"""
    vtopo("up", vtopo.write(lab))
    first = shop.init("app")
    own = shop.told("app")["NetworkSettings"]["IPAddress"]
    assert {"127.0.0.1", "10.0.0.1", own} <= _addresses(shop, "localhost") | _addresses(shop, "app")
    assert shop.run("own", "sh", "-c", "cd /etc; cat hosts resolv.conf; stat -c %a hosts") == (
        "10.8.8.8 othernameserver 10.0.0.2640\n"
    )

    more = vtopo.write(lab + "host new\nlink new -- lan\n")
    vtopo("up", more)
    assert "1 packets received" in shop.run("app", "ping", "-c1", "-W9", "new")
    assert (shop.init("app"), _addresses(shop, "mine")) == (first, {"10.9.9.9"})
    vtopo("node", "own", "restart")
    subprocess.run(["docker", "restart", "-t0", f"vtopo.{vtopo.lab}.app"], check=True)
    eventually(lambda: _addresses(shop, "new") == {"10.0.0.3"}, 60)
    eventually(lambda: "nothing to do" in vtopo("up", more).out, 60)
    assert shop.run("own", "cat", "/etc/resolv.conf") == "nameserver 10.0.0.2"

    shop.run("app", "sh", "-c", "echo 10.9.9.9 mine > /etc/hosts")
    assert [s["id"] for s in vtopo("plan", more, "--json").json["steps"]] == ["app/container"]
    vtopo("up", more)
    vtopo("up", vtopo.write(lab))
    assert (_addresses(shop, "db"), _addresses(shop, "new"), _addresses(shop, "mine")) == (
        {"10.0.0.2"},
        set(),
        {"10.9.9.9"},
    )


def _addresses(shop: Dockered, name: str) -> set[str]:
    lines = [line.split() for line in shop.run("app", "cat", "/etc/hosts").splitlines()]
    return {address for address, *names in lines if name in names}


# Failures


@dataclass
class Inside:
    """A container that runs, a supervisor, and what is started there by its backend."""

    lab: Lab
    handles: dict[str, Handle]

    def make(self, r: Exec | Run | Ready) -> str:
        """Why it fails; empty if it does not."""
        (outcome,) = self.lab.life.create([r], self.handles)
        return outcome.reason if isinstance(outcome, Failed) else ""

    def execute(self, *command: str) -> str:
        return self.make(Exec(id="a/exec/x", host="a/container", node="a", command=command))

    def daemon(self, name: str, *command: str) -> Run:
        return Run(id=f"a/run/{name}", host="a/container", node="a", name=name, command=command)

    def ready(self, condition: str, seconds: float = 5, **more: Any) -> str:
        milliseconds = int(seconds * 1000)
        ready = Ready(
            id="a/ready", host="a/container", node="a", condition=condition, milliseconds=milliseconds, **more
        )  # type: ignore[arg-type]
        return self.make(ready)


@pytest.fixture
def inside(lab: Lab, dockers: Dockers) -> Inside:
    lab.hosts()
    lab.must(Supervisor(id="lab/supervisor"))
    dockers.must(dockers.container("a", command=("sh", "-c", "echo hello; exec sleep 1000")))
    return Inside(lab, {**lab.handles, **dockers.handles})


def shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def test_what_fails_in_a_container_says_why(inside: Inside, dockers: Dockers) -> None:
    reason = inside.execute(*shell("echo first; exit 3"))
    assert reason == "`echo first; exit 3`: exit status 3; it printed\n    first"
    assert "`nonesuch`: exit status 12" in inside.execute("nonesuch")
    assert "nonesuch: command not found" in inside.execute("nonesuch")
    assert inside.execute("true") == ""
    assert inside.execute("false") == "", "once per making"
    reason = inside.make(inside.daemon("d", *shell("echo no; exit 4")))
    assert reason == "`echo no; exit 4`: exit status 4, 3 times in a row, at once; it printed\n    no"
    assert "nothing listens on TCP port 81" in inside.ready("tcp", 0.1, port=81)
    assert "no log of it says 'never'; its last log lines:\n    " in inside.ready("log", 0.1, text="never")
    assert "its command does not succeed (exit status 5)" in inside.ready(
        "command", 5, command=shell("exit 5")
    )
    assert inside.ready("log", text="hello") == ""
    dockers.docker.kill(dockers.name("a"))
    assert "the container is not running; its last log lines:\n" in inside.ready("tcp", port=80)


def test_daemons_end_with_all_that_stands_for_them(inside: Inside, dockers: Dockers) -> None:
    stubborn = inside.daemon("d", *shell("trap '' TERM; echo on; while :; do sleep 0.1; done"))
    twin = inside.daemon("e", *shell("exec sleep 2000"))
    assert [inside.make(each) for each in (stubborn, twin)] == ["", ""]
    assert set(inside.lab.life.observe([stubborn, twin], inside.handles)) == {stubborn.id, twin.id}
    (job,) = (j for j in inside.lab.life._jobs().values() if j.key == twin.id)
    os.kill(job.pid, signal.SIGKILL)  # who stands for it
    eventually(lambda: inside.lab.life._jobs()[twin.id].exits == 1 and inside.lab.life._jobs()[twin.id].pid)
    eventually(lambda: _in(dockers, "sleep 2000") == 1)
    list(inside.lab.life.delete([stubborn, twin], inside.handles))
    assert _in(dockers, "trap") == _in(dockers, "sleep 2000") == 0


def _in(dockers: Dockers, word: str) -> int:
    """How many processes of the container have a word in their command lines."""
    listed = dockers.docker.top(dockers.name("a"), "-o pid,args")["Processes"]
    return sum(word in arguments for _, arguments in listed)


def test_a_missing_image_is_pulled_once_and_said(shop: Dockered) -> None:
    vtopo = shop.vtopo
    with registry(root()) as address:
        image = f"{address}/bb:1"
        try:
            up = vtopo("up", vtopo.write(f'container c[1..2] {{ image "{image}" }}\n')).out
            assert up.count(f"pulling {image} …\n") == up.count(f"pulling {image}: done\n") == 1
            assert {shop.told(n)["State"]["Status"] for n in ("c1", "c2")} == {"running"}
            again = vtopo("up", "--json", vtopo.write(f'container c3 {{ image "{image}"; pull always }}\n'))
            moved = [e for e in again.events if e["event"] == "transfer"]
            assert (moved[-1]["what"], moved[-1]["finished"]) == (f"pulling {image}", True)
            failed = vtopo("up", vtopo.write(f'container c4 {{ image "{address}/nope:1" }}\n'), status=1).err
            assert f"the image {address}/nope:1 cannot be pulled: " in failed
            vtopo("down", vtopo.lab)
        finally:
            shop.docker.remove_image(image, force=True)


def test_an_image_without_the_command_is_said(shop: Dockered) -> None:
    file = shop.vtopo.write(f'container a {{ image "{MUTE}"; command ["nonesuch"] }}\n')
    failed = shop.vtopo("up", file, status=1).err
    assert 'exec: "nonesuch": executable file not found in $PATH' in failed
    file = shop.vtopo.write(f'container a {{ image "{MUTE}" }}\n')
    assert "names no command to run; say one with `command`" in shop.vtopo("up", file, status=1).err
