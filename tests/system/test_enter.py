"""Commands in a host behave as at the host's own prompt."""

# ruff: noqa: PTH115

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from lab import Lab

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.enter import capture_in_host, run_in_host


def command(handle: Handle, *argv: str) -> list[str]:
    """A process that runs `argv` in the host and exits with its status."""
    code = (
        "import sys; from vtopo.backends.base import Handle; from vtopo.backends.enter import run_in_host; "
        f"sys.exit(run_in_host(Handle(*{tuple(handle)}), {list(argv)!r}))"
    )
    return [sys.executable, "-c", code]


def run(handle: Handle, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(handle, *argv), input=stdin, capture_output=True, text=True, check=False)


@pytest.fixture
def host(lab: Lab) -> Handle:
    lab.hosts("a")
    return lab.handles["a"]


def test_it_is_in_all_namespaces(host: Handle) -> None:
    for kind in ("pid", "net", "mnt", "uts", "ipc"):
        inside = run(host, "readlink", f"/proc/self/ns/{kind}").stdout.strip()
        assert inside == os.readlink(f"/proc/{host.pid}/ns/{kind}")


def test_input_output_and_status_are_the_commands_own(host: Handle) -> None:
    done = run(host, "sh", "-c", "cat; echo err >&2; exit 7", stdin="in")
    assert (done.stdout, done.stderr, done.returncode) == ("in", "err\n", 7)


def test_death_by_a_signal_is_128_more(host: Handle) -> None:
    assert run(host, "sh", "-c", "kill -9 $$").returncode == 137


def test_not_found_and_not_executable(host: Handle) -> None:
    done = run(host, "nonesuch")
    assert (done.returncode, done.stderr) == (127, "vtopo: nonesuch: command not found\n")
    done = run(host, "/etc/hostname")
    assert (done.returncode, done.stderr) == (126, "vtopo: /etc/hostname: Permission denied\n")


def test_the_environment_is_clean(host: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    env = dict(line.split("=", 1) for line in run(host, "env").stdout.splitlines())
    assert env["HOME"] == "/root"
    assert env["LANG"] == "C.UTF-8"
    assert not {name for name in env if name == "SECRET" or name.startswith("VTOPO_")}


def test_signals_are_passed_on(host: Handle) -> None:
    script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(command(host, "sh", "-c", script), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "got it\n"
        assert process.wait(30) == 3


def test_no_signal_is_lost_just_before_the_wait(host: Handle) -> None:
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"
    for _ in range(60):
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(theirs, 1)
            os._exit(run_in_host(host, ["sh", "-c", script]))
        os.close(theirs)
        pidfd = os.pidfd_open(pid)
        try:
            assert os.read(ours, 16) == b"ready\n"
            os.kill(pid, signal.SIGTERM)
            assert select.select([pidfd], [], [], 30)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            os.close(pidfd)
            os.close(ours)
        assert os.waitstatus_to_exitcode(status) == 3


def test_the_command_ends_with_its_caller(host: Handle, lab: Lab) -> None:
    with subprocess.Popen(command(host, "sleep", "60")) as process:
        while "sleep" not in lab.run("a", "ps", "-A", "-o", "comm="):
            time.sleep(0.02)
        process.kill()
    end = time.monotonic() + 30
    while "sleep" in lab.run("a", "ps", "-A", "-o", "comm=") and time.monotonic() < end:
        time.sleep(0.02)
    assert "sleep" not in lab.run("a", "ps", "-A", "-o", "comm=")


def test_a_terminal_stays_one(host: Handle) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        words = command(host, "sh", "-c", "test -t 0 && stty size")
        os.execv(words[0], words)
    output = b""
    try:
        while part := os.read(fd, 1024):
            output += part
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert output.strip() == b"0 0"
    os.close(fd)


def test_capture_keeps_both_streams(host: Handle) -> None:
    assert capture_in_host(host, ["sh", "-c", "echo out; echo err >&2; exit 4"], 5) == (4, "out\nerr\n")


def test_capture_says_what_was_not_found(host: Handle) -> None:
    assert capture_in_host(host, ["nonesuch"], 5) == (127, "vtopo: nonesuch: command not found\n")


def test_capture_ends_in_time(host: Handle) -> None:
    start = time.monotonic()
    status, text = capture_in_host(host, ["sh", "-c", "echo so far; exec sleep 60"], 0.5)
    assert (status, text) == (124, "so far\n")
    assert time.monotonic() - start < 20


def test_capture_does_not_wait_for_what_stays_behind(host: Handle) -> None:
    start = time.monotonic()
    assert capture_in_host(host, ["sh", "-c", "sleep 60 & echo done"], 20) == (0, "done\n")
    assert time.monotonic() - start < 15


def test_a_host_that_is_gone_is_said_so(host: Handle) -> None:
    os.kill(host.pid or 0, signal.SIGKILL)
    time.sleep(0.2)
    with pytest.raises(BackendError, match="not running"):
        capture_in_host(host, ["true"], 5)
