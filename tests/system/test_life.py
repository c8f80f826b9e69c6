"""Commands and daemons in hosts: started, kept running, logged, ended, and what is said when they fail."""

# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Lab

from vtopo.backends.base import Done, Failed, Handle, Outcome, Watch
from vtopo.backends.life import LifeBackend
from vtopo.backends.supervision import Job
from vtopo.compile.resources import Exec, Ready, Run, Supervisor

SUPERVISOR = Supervisor(id="lab/supervisor")


@pytest.fixture
def host(lab: Lab) -> Lab:
    """A lab with the host a and a supervisor."""
    lab.hosts("a")
    lab.must(SUPERVISOR)
    return lab


def shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def execute(command: Sequence[str], name: str = "x", **more: object) -> Exec:
    return Exec(id=f"a/exec/{name}", host="a", node="a", command=tuple(command), **more)  # type: ignore[arg-type]


def daemon(command: Sequence[str], name: str = "d", node: str = "a") -> Run:
    return Run(id=f"{node}/run/{name}", host=node, node=node, name=name, command=tuple(command))


def ready(condition: str, seconds: float = 5, **more: object) -> Ready:
    milliseconds = int(seconds * 1000)
    return Ready(id="a/ready", host="a", node="a", condition=condition, milliseconds=milliseconds, **more)  # type: ignore[arg-type]


def only(outcomes: Sequence[Outcome]) -> str:
    """Why the only one failed; empty if it did not."""
    (outcome,) = outcomes
    return outcome.reason if isinstance(outcome, Failed) else ""


def job(lab: Lab, run: Run) -> Job:
    return lab.life._jobs()[run.id]


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def comms(lab: Lab, node: str = "a") -> list[str]:
    """The names of all processes in a host, as ps(1) there shows them."""
    return sorted(set(lab.run(node, "ps", "-A", "-o", "comm=").split()) - {"ps"})


# Commands


def test_a_command_runs_in_the_host_with_its_environment(host: Lab) -> None:
    env = ("COLOUR=deep blue", "PATH=/usr/bin:/bin")
    host.must(execute(shell('hostname > /root/x; echo "$COLOUR" >> /root/x; id -u >> /root/x'), env=env))
    assert host.run("a", "cat", "/root/x") == "a\ndeep blue\n0\n"
    assert not Path("/root/x").exists()


def test_a_list_is_run_as_it_is(host: Lab) -> None:
    host.must(execute(["touch", "/root/$HOME;x"]))
    assert host.run("a", "ls", "/root").split() == ["$HOME;x"]


def test_a_command_that_fails_says_what_it_printed(host: Lab) -> None:
    reason = only(host.make(execute(shell("echo first; echo it broke >&2; exit 3"))))
    assert (
        reason
        == "`echo first; echo it broke >&2; exit 3`: exit status 3; it printed\n    first\n    it broke"
    )
    assert "nonesuch: command not found" in only(host.make(execute(["nonesuch"])))
    assert "exit status 137" in only(host.make(execute(shell("kill -9 $$"))))


def test_a_command_runs_once_per_making_of_the_host(host: Lab) -> None:
    count = execute(shell("echo ran >> /root/count"))
    for _ in range(2):
        host.must(count)
        list(host.life.delete([count], host.handles))
    assert host.run("a", "cat", "/root/count") == "ran\n"
    assert set(host.life.observe([count], host.handles)) == {count.id}
    list(host.namespaces.delete([host.host("a")], host.handles))
    host.must(host.host("a"))
    assert host.life.observe([count], host.handles) == {}
    host.must(count)
    assert host.run("a", "cat", "/root/count") == "ran\n"


def test_a_command_that_failed_is_run_again(host: Lab) -> None:
    second = execute(shell("test -e /root/seen || { touch /root/seen; exit 1; }"))
    assert "exit status 1" in only(host.make(second))
    assert only(host.make(second)) == ""


def test_a_background_process_of_a_command_does_not_hold_it_up(host: Lab) -> None:
    begun = time.monotonic()
    host.must(execute(shell("sleep 30 & echo done")))
    assert time.monotonic() - begun < 20
    until(lambda: "sleep" in comms(host))


def test_a_run_that_stops_ends_its_commands(host: Lab, tmp_path: Path) -> None:
    watch = Watch()
    life = LifeBackend(host.name, tmp_path, watch)
    threading.Timer(0.3, watch.stop.set).start()
    outcomes = list(life.create([execute(["sleep", "61"])], host.handles))
    assert only(outcomes) == "given up, as the run stops"
    until(lambda: "sleep" not in comms(host))


def test_huge_output_is_kept_in_part(host: Lab) -> None:
    reason = only(host.make(execute(shell("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end; false"))))
    assert reason.endswith("    end")
    assert len(reason) < 6000
    folder = host.namespaces.scratch.path / "logs" / "a"
    assert sum(f.stat().st_size for f in folder.iterdir()) < 3 << 20


# Daemons


def test_a_daemon_runs_in_all_namespaces_of_the_host(host: Lab) -> None:
    run = daemon(["sleep", "62"])
    host.must(run)
    pid, init = job(host, run).pid, host.handles["a"].pid
    for kind in ("pid", "net", "mnt", "uts", "ipc"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{init}/ns/{kind}")
    assert comms(host) == ["sleep", "vtopo-init"]
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert not [fd for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    assert os.getsid(pid) == pid


def test_on_a_full_tmpfs_daemons_start_all_the_same(lab: Lab) -> None:
    lab.hosts("a")
    scratch = lab.namespaces.scratch.path
    subprocess.run(["mount", "-o", "remount,size=1M", scratch], check=True)
    with (scratch / "filler").open("wb", buffering=0) as f, pytest.raises(OSError, match="space"):
        while True:
            f.write(bytes(4096))
    lab.must(SUPERVISOR)
    run = daemon(["sleep", "63"])
    lab.must(run)
    assert comms(lab) == ["sleep", "vtopo-init"]
    assert "nonesuch: command not found" in only(lab.make(execute(["nonesuch"])))


def test_a_daemon_that_ends_is_started_again(host: Lab) -> None:
    run = daemon(["sleep", "62"])
    host.must(run)
    first = job(host, run).pid
    os.kill(first, signal.SIGKILL)
    until(lambda: job(host, run).pid not in (0, first))
    seen = job(host, run)
    assert (seen.state, seen.exits, seen.last) == ("running", 1, "killed by SIGKILL")
    assert "[vtopo] killed by SIGKILL" in host.life.logs.text("a", "d")


def test_a_daemon_that_keeps_ending_is_started_less_and_less_often(host: Lab) -> None:
    run = daemon(shell("sleep 0.25; exit 4"))
    host.must(run)
    until(lambda: job(host, run).exits >= 3)
    until(lambda: job(host, run).state == "waiting")
    seen = job(host, run)
    assert seen.last == "exit status 4"
    assert 0.2 < seen.wait <= 1.7


def test_a_daemon_that_ends_at_once_is_a_failure_with_its_last_words(host: Lab) -> None:
    reason = only(host.make(daemon(shell("echo no config; exit 1"))))
    assert (
        reason
        == "`echo no config; exit 1`: exit status 1, 3 times in a row, at once; it printed\n    no config"
    )
    assert host.life._jobs() == {}


def test_a_daemon_that_forks_away_is_told_to_stay(host: Lab) -> None:
    reason = only(host.make(daemon(shell("sleep 63 & exit 0"))))
    assert "exit status 0, 3 times in a row, at once; what it started goes on in the background" in reason
    list(host.life.delete([daemon(shell("sleep 63 & exit 0"))], host.handles))
    assert comms(host) == ["vtopo-init"]


def test_to_end_a_daemon_ends_what_it_started(host: Lab) -> None:
    run = daemon(shell("setsid sleep 64 & trap '' TERM; while :; do sleep 0.1; done"))
    host.must(run)
    begun = time.monotonic()
    assert list(host.life.delete([run], host.handles)) == [Done(run.id)]
    assert 4 < time.monotonic() - begun < 25, "SIGTERM first, SIGKILL after five seconds"
    assert comms(host) == ["vtopo-init"]


def test_a_host_that_dies_takes_its_daemons_along_at_once(host: Lab) -> None:
    run = daemon(["sleep", "62"])
    host.must(run)
    pid = job(host, run).pid
    begun = time.monotonic()
    list(host.namespaces.delete([host.host("a")], host.handles))
    assert time.monotonic() - begun < 5
    assert not alive(pid)
    until(lambda: host.life._jobs() == {})
    assert host.life.observe([run], host.handles) == {}


def test_what_is_held_is_seen_and_resumed(host: Lab) -> None:
    run = daemon(["sleep", "62"])
    host.must(run)
    held = replace(run, state="held")
    list(host.life.update([(run, held)], host.handles))
    assert comms(host) == ["vtopo-init"]
    assert host.life.observe([run], host.handles)[run.id].found == held
    list(host.life.update([(held, run)], host.handles))
    assert comms(host) == ["sleep", "vtopo-init"]
    assert host.life.observe([run], host.handles)[run.id].found == run


def test_a_dead_supervisor_shows_and_what_it_left_is_replaced(host: Lab) -> None:
    run = daemon(shell("trap '' PIPE; while :; do sleep 0.1; done"))
    host.must(run)
    os.kill(host.handles[SUPERVISOR.id].pid or 0, signal.SIGKILL)
    until(lambda: SUPERVISOR.id not in host.life.observe([SUPERVISOR], host.handles))
    assert host.life.observe([run], host.handles) == {}
    host.must(SUPERVISOR)
    host.must(run)
    assert (
        len([line for line in host.run("a", "ps", "-A", "-o", "args=").splitlines() if "trap" in line]) == 1
    )


def test_there_is_one_supervisor_small_and_gone_with_a_sweep(host: Lab) -> None:
    handle = host.handles[SUPERVISOR.id]
    rollup = Path(f"/proc/{handle.pid}/smaps_rollup").read_text()
    (pss,) = (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss < 16 << 10
    host.must(SUPERVISOR)
    assert host.life.traces() == [f"supervisor {host.handles[SUPERVISOR.id].pid}"]
    host.must(daemon(["sleep", "62"]))
    assert host.life.sweep() == [f"supervisor {host.handles[SUPERVISOR.id].pid}"]
    assert host.life.traces() == []
    until(lambda: comms(host) == ["vtopo-init"])


def test_logs_go_on_in_a_new_file_and_stay_small(host: Lab) -> None:
    run = daemon(
        shell(
            "i=0; while [ $i -lt 400 ]; do head -c 10000 /dev/zero | tr '\\0' y; echo; i=$((i+1)); done; sleep 65"
        )
    )
    host.must(run)
    folder = host.namespaces.scratch.path / "logs" / "a"
    until(lambda: sorted(f.name for f in folder.iterdir()) == ["d.log", "d.log.1"])
    time.sleep(0.5)
    assert sum(f.stat().st_size for f in folder.iterdir()) < 3 << 20
    assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o600}


def test_what_a_supervisor_logs_after_its_tmpfs_is_gone_is_nowhere_on_the_machine(host: Lab) -> None:
    scratch = host.namespaces.scratch
    # A second daemon has no log yet: that one is made when the first word comes.
    host.must(daemon(["sleep", "60"]), daemon(shell("while sleep 0.6; do echo late; done"), name="e"))
    scratch.delete()
    supervisor = host.handles[SUPERVISOR.id].pid
    assert supervisor is not None
    name = "/proc/{}/fd/{}".format
    until(lambda: any(_link(name(supervisor, fd)).endswith("logs/a/e.log") for fd in _fds(supervisor)))
    assert not scratch.path.exists()


def _fds(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_many_orphans_leave_no_zombies(host: Lab) -> None:
    host.must(
        execute(
            shell(
                "for i in 1 2 3 4 5 6 7 8 9; do (for j in 1 2 3 4 5 6 7 8 9; do (sleep 0.1 &) ; done) & done; wait"
            )
        )
    )
    until(lambda: "Z" not in host.run("a", "ps", "-A", "-o", "stat="))


def test_a_request_that_makes_no_sense_does_not_end_the_supervisor(host: Lab) -> None:
    import socket

    wire = socket.socket(socket.AF_UNIX)
    wire.connect(str(host.namespaces.scratch.path / "supervisor"))
    wire.sendall(b'nonsense\n{"do": "run"}\n[]\n')
    assert wire.recv(1000).count(b"not a request") >= 1
    wire.close()
    host.must(daemon(["sleep", "62"]))


# Readiness


def test_ready_when_something_listens(host: Lab) -> None:
    code = "import socket,time; time.sleep(0.4); s=socket.create_server(('127.0.0.1',8080)); time.sleep(60)"
    host.must(daemon(["python3", "-c", code]))
    begun = time.monotonic()
    host.must(ready("tcp", port=8080))
    assert time.monotonic() - begun < 20
    reason = only(host.make(ready("tcp", 0.3, port=8081)))
    assert reason.startswith("a is not ready after 0.3 s: nothing listens on TCP port 8081")


def test_ready_when_a_command_succeeds(host: Lab) -> None:
    host.must(daemon(shell("sleep 0.4; touch /root/up; sleep 60")))
    host.must(ready("command", command=("test", "-e", "/root/up")))
    reason = only(host.make(ready("command", 0.5, command=("false",))))
    assert "its command does not succeed (exit status 1)" in reason
    reason = only(host.make(ready("command", 0.5, command=("sleep", "60"))))
    assert "its command does not succeed (it" in reason
    until(lambda: comms(host).count("sleep") == 1)


def test_ready_when_the_log_says_so_else_its_last_lines_are_told(host: Lab) -> None:
    host.must(daemon(shell("echo starting; sleep 0.4; echo Grüezi, ready to serve; sleep 60")))
    host.must(ready("log", text="Grüezi, ready"))
    reason = only(host.make(ready("log", 0.3, text="never")))
    assert reason.endswith(
        "no log of it says 'never'; its last log lines:\n    starting\n    Grüezi, ready to serve"
    )


def test_a_host_that_is_gone_is_never_ready(host: Lab) -> None:
    host.handles["a"] = Handle(pid=1, start=1)
    assert only(host.make(ready("tcp", 60, port=1))) == "the host is not running"
    assert only(host.make(daemon(["sleep", "1"]))) == "`sleep 1`: the host is not running; it printed nothing"
