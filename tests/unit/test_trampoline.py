"""The small program makes the calls of its list in turn, becomes another, and tells what failed."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from vtopo.backends.trampoline import (
    AGAIN,
    ALWAYS,
    FAILURE,
    FAILURE_SIZE,
    FORK,
    PID,
    PID_SIZE,
    TRY,
    Calls,
    failed,
    failure,
    failures,
    program,
    renamed,
)

MACHINE = os.uname().machine
pytestmark = pytest.mark.skipif(program(MACHINE) is None, reason="no program for this processor")
TOLD = 4


class Start:
    """A list, and what comes of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "program"
        self.path.write_bytes(program(MACHINE) or b"")
        self.path.chmod(0o700)
        self.calls = Calls(MACHINE, 7)
        self.calls.record(TOLD)

    def run(self, *argv: str, env: dict[str, str] | None = None) -> tuple[int, str, int]:
        """The exit status, what was printed, and the errno of its failure."""
        whole, (out, prints), told = os.memfd_create("calls"), os.pipe(), failures()
        os.write(whole, self.calls.list(99))
        os.lseek(whole, 0, os.SEEK_SET)
        given = [(os.POSIX_SPAWN_DUP2, whole, 0), (os.POSIX_SPAWN_DUP2, prints, 1)]
        given += [(os.POSIX_SPAWN_DUP2, told, TOLD)]
        pid = os.posix_spawn(self.path, argv, env or {}, file_actions=given)
        for fd in (whole, prints):
            os.close(fd)
        with os.fdopen(out, encoding="utf-8", errors="surrogateescape") as printed:
            text = printed.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert failure(told, 8) == 0
        found = failure(told, 7)
        os.close(told)
        return status, text, found


@pytest.fixture
def start(tmp_path: Path) -> Start:
    # Above those that are given away.
    while os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) < 10:
        continue
    return Start(tmp_path)


def test_it_becomes_another_with_its_own_arguments_and_environment(start: Start) -> None:
    start.calls.call("chdir", start.calls.at(b"/usr\0"))
    start.calls.execute("sh", "/nonesuch:/etc/hostname:/usr/bin:/bin")
    assert start.run("sh", "-c", 'echo "$A" "$1"; pwd', "x", "two words", env={"A": "ä"}) == (
        0,
        "ä two words\n/usr\n",
        0,
    )


def test_a_path_is_not_looked_for(start: Start) -> None:
    start.calls.execute("/bin/echo", "")
    assert start.run("echo", "yes") == (0, "yes\n", 0)


def test_what_must_be_and_fails_ends_it(start: Start) -> None:
    start.calls.call("chdir", start.calls.at(b"/etc/nonesuch/x\0"))
    start.calls.execute("/bin/echo", "")
    assert start.run("echo", "no") == (99, "", errno.ENOENT)


def test_what_need_not_be_may_fail(start: Start) -> None:
    start.calls.call("chdir", start.calls.at(b"/nonesuch\0"), mode=ALWAYS)
    start.calls.call("dup2", 98, 99, mode=TRY)
    start.calls.execute("/bin/echo", "")
    assert start.run("echo", "yes") == (0, "yes\n", 0)


@pytest.mark.parametrize(
    ("argv0", "path", "number"),
    [
        ("nonesuch", "/usr/bin:/bin", errno.ENOENT),
        ("file", ".:/nonesuch", errno.EACCES),  # what is there and may not be run is the reason
        ("./file", "", errno.EACCES),
        ("./file/x", "", errno.ENOTDIR),
        ("x" * 300, "/bin", errno.ENAMETOOLONG),
    ],
)
def test_why_it_became_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, argv0: str, path: str, number: int
) -> None:
    start.path.with_name("file").write_text("#!/bin/sh\n")
    monkeypatch.chdir(start.path.parent)
    start.calls.execute(argv0, path)
    assert start.run(argv0) == (99, "", number)


def test_a_list_serves_under_another_name(start: Start) -> None:
    start.calls = Calls(MACHINE)
    start.calls.record(TOLD)
    start.calls.call("chdir", start.calls.at(b"/etc/nonesuch/x\0"))
    start.calls.execute("/bin/echo", "")
    whole = start.calls.list(99)
    start.calls.list = lambda _: renamed(whole, 7)  # type: ignore[method-assign]
    assert start.run("echo", "no") == (99, "", errno.ENOENT)


def test_a_fork_goes_on_in_the_child_and_tells_its_parent(start: Start) -> None:
    start.calls.call("clone", signal.SIGCHLD, mode=FORK)
    start.calls.in_parent("write", 1, PID, PID_SIZE)
    start.calls.in_parent("exit_group", 3)
    start.calls.execute("/bin/cat", "")
    status, text, number = start.run("cat", "/proc/self/stat")
    assert (status, number) == (3, 0)
    told = os.fsencode(text)  # by the parent; and its own number, by the child
    child = next(w for w in (told[:PID_SIZE], told[-PID_SIZE:]) if b"\0" in w)
    assert told.replace(child, b"").split()[0] == str(int.from_bytes(child, "little")).encode()


def test_which_call_failed_is_told(start: Start) -> None:
    start.calls = Calls(MACHINE)
    start.calls.if_failed("write", 1, FAILURE, FAILURE_SIZE)
    start.calls.call("chdir", start.calls.at(b"/\0"))
    bad = start.calls.call("chdir", start.calls.at(b"/etc/hostname\0"))
    whole, (out, prints) = os.memfd_create("calls"), os.pipe()
    os.write(whole, start.calls.list(9))
    os.lseek(whole, 0, os.SEEK_SET)
    given = [(os.POSIX_SPAWN_DUP2, whole, 0), (os.POSIX_SPAWN_DUP2, prints, 1)]
    pid = os.posix_spawn(start.path, ["x"], {}, file_actions=given)
    for fd in (whole, prints):
        os.close(fd)
    with os.fdopen(out, "rb") as told:
        assert failed(told.read()) == (bad, errno.ENOTDIR)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_what_is_to_be_made_again_is_until_it_succeeds(start: Start, tmp_path: Path) -> None:
    start.calls.call("chdir", start.calls.text(str(tmp_path / "later")), mode=AGAIN)
    start.calls.execute("/bin/pwd", "")
    timer = threading.Timer(0.3, (tmp_path / "later").mkdir)
    timer.start()
    assert start.run("pwd", env={"PWD": "/"}) == (0, f"{tmp_path}/later\n", 0)
    timer.join()


def test_a_list_that_is_too_long_is_refused_beforehand(start: Start) -> None:
    start.calls.execute("x", ":".join(["/" + "y" * 1000] * 1100))
    with pytest.raises(OSError, match="Argument list too long"):
        start.calls.list(99)
