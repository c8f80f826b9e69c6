"""An ordinary user's labs: in namespaces of their own, without root, and gone without a trace."""

# ruff: noqa: PTH115

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import LABS, Vtopo
from ordinary_user import FORBIDDEN, User

TWO_HOSTS = """
host a
host b
bridge lan { subnet 10.0.0.0/24 }
link a -- lan
link b -- lan
expect a reaches b
"""


@pytest.fixture
def user(lab_name: str) -> Iterator[User]:
    """A user who has nothing yet, and of whom nothing runs in the end."""
    one = User(61001, lab_name)
    yield one
    one.close()


@pytest.fixture
def other(lab_name: str) -> Iterator[User]:
    """Another one."""
    one = User(61002, lab_name)
    yield one
    one.close()


def gone(user: User, seconds: float = 5.0) -> bool:
    """Whether nothing of the user runs any more."""
    end = time.monotonic() + seconds
    while user.processes() and time.monotonic() < end:
        time.sleep(0.02)
    return not user.processes()


@pytest.mark.parametrize(("name", "hosts"), [("quickstart", 2), ("routers", 5), ("overlay", 4)])
def test_a_lab_comes_up_works_and_goes(user: User, name: str, hosts: int) -> None:
    file = LABS / f"{name}.vlab"
    user("up", file)
    (keeper,) = user.keepers()
    assert Path(f"/proc/{keeper}/uid_map").read_text().split()[:2] == ["0", str(user.uid)]
    inits = user.inits()
    assert len(inits) == hosts
    for kind in ("user", "mnt", "net", "uts", "ipc", "pid"):
        assert os.readlink("/proc/self/ns/user") not in [os.readlink(f"/proc/{p}/ns/{kind}") for p in inits]
    assert f" - tmpfs vtopo:{name} " not in Path("/proc/self/mountinfo").read_text()
    assert ", 0 failed" in user("test", file).out
    assert "no drift" in user("status", name, "--exit-code").out
    assert user("plan", file, "--exit-code").status == 0
    assert name in user("ls").out
    user("down", name)
    assert gone(user)
    assert user("ls").out == "no lab is running\n"


def test_the_command_in_a_host_is_its_own(user: User) -> None:
    user("up", user.write(TWO_HOSTS))
    assert user.exec("a", "id", "-u").out == "0\n"
    assert user.exec("a", "sh", "-c", "cat; exit 7", stdin="in", status=7).out == "in"
    assert user.exec("a", "hostname").out == "a\n"
    assert "10.0.0.1" in user.exec("a", "ip", "-br", "address").out
    user.exec("a", "sh", "-c", "echo mine > /etc/mine; echo x > /dev/null; head -c1 /dev/zero > /tmp/zero")
    assert user.exec("a", "cat", "/etc/mine", "/etc/hostname").out == "mine\na\n"
    assert "mine" not in user.exec("b", "ls", "/etc").out
    assert "10.0.0.2" in user.exec("a", "getent", "hosts", "b").out
    assert "/proc" in user.exec("a", "cat", "/proc/mounts").out
    user("down")


def test_drift_is_seen_and_repaired_and_edits_change_the_lab(user: User) -> None:
    file = user.write(TWO_HOSTS)
    user("up", file)
    before = user.inits()
    user.exec("a", "ip", "link", "set", "eth0", "mtu", "1280")
    assert "mtu" in user("status", "--exit-code", status=3).out
    assert "1 to update" in user("plan", file).out
    user("up", file)
    assert "mtu 1500" in user.exec("a", "ip", "link", "show", "eth0").out
    file = user.write(TWO_HOSTS + "host c\nlink c -- lan\nexpect c reaches a\n")
    user("up", file)
    assert len(user.inits()) == 3
    assert set(before) < set(user.inits())
    assert ", 0 failed" in user("test", file).out
    user("down")
    assert gone(user)


def test_a_plan_that_was_saved_before_anything_runs_is_carried_out(user: User) -> None:
    user("plan", user.write(TWO_HOSTS), "--out", "plan.json", cwd=user.home)
    assert gone(user)
    user("up", "plan.json", cwd=user.home)
    assert len(user.inits()) == 2
    user("down")


def test_with_the_keeper_all_of_a_users_labs_end_and_records_notice(user: User) -> None:
    file = user.write(TWO_HOSTS)
    user("up", file)
    (keeper,) = user.keepers()
    os.kill(keeper, signal.SIGKILL)
    assert gone(user)
    assert "gone (ended)" in user("ls").out
    assert "no node" in user("exec", "a", "true", status=1).err
    assert "6 to create" in user("plan", file).out
    user("up", file)
    assert ", 0 failed" in user("test", file).out
    (keeper,) = user.keepers()
    os.kill(keeper, signal.SIGKILL)
    assert gone(user)
    user("down", user.lab)
    assert gone(user)
    assert user("ls").out == "no lab is running\n"


def test_the_keeper_stays_until_the_last_lab_is_down(user: User) -> None:
    user("up", user.write(TWO_HOSTS))
    keeper = user.keepers()
    user("up", LABS / "quickstart.vlab")
    assert user.keepers() == keeper
    user("down", "quickstart")
    assert user.keepers() == keeper
    assert len(user.inits()) == 2
    user("down")
    assert gone(user)


def test_users_and_root_have_the_same_lab_at_once_and_see_only_their_own(
    user: User, other: User, vtopo: Vtopo
) -> None:
    users = (user, other)
    for each in (*users, vtopo):
        each("up", each.write(TWO_HOSTS))
    user.exec("a", "touch", "/etc/of-one")
    assert "of-one" not in other.exec("a", "ls", "/etc").out
    assert len(user.inits()) == len(other.inits()) == 2
    user("down", "--all")
    assert gone(user)
    for each in (other, vtopo):
        assert "no drift" in each("status", each.lab).out
    vtopo("down", vtopo.lab)
    assert "no drift" in other("status").out
    other("down")
    assert gone(other)


def test_a_run_that_is_killed_leaves_what_down_takes_away(user: User) -> None:
    file = user.write("host h[1..20]\nbridge s\nlink h[1..20] -- s\n")
    with user.start("up", file) as process:
        end = time.monotonic() + 20
        while len(user.inits()) < 3 and time.monotonic() < end:
            time.sleep(0.005)
        process.kill()
    assert user.keepers()
    user("down", user.lab)
    assert gone(user)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("host a {\n  memory 64MiB\n}\n", "host a", "limit a host's memory"),
        ("uplink wan\nhost a\nlink a -- wan\n", "uplink wan", "lead out of the lab by the machine's network"),
        ('uplink wan { interface "eth0" }\nhost a\nlink a -- wan\n', "uplink wan", "lead out of the lab"),
        ('container c {\n  image "busybox"\n}\n', "container c", "wire a container"),
        ('host a {\n  file "/etc/x" "hello" { owner "daemon" }\n}\n', "file ", "newuidmap"),
        ('host a {\n  bind "/etc/shadow" -> "/x"\n}\n', "bind ", "may not read"),
    ],
)
def test_what_takes_root_is_refused_with_its_statement_before_anything_is_made(
    user: User, text: str, line: str, reason: str
) -> None:
    file = user.write(text)
    user("check", file)
    # What ids a user has is known once there is a world, and a plan makes none.
    for command in ("up",) if reason == "newuidmap" else ("plan", "up"):
        result = user(command, file, status=1)
        assert line in result.err
        assert reason in result.err
        assert "nothing was touched" in result.err
        assert gone(user)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "FILE"),
        ("fmt", "--check", "FILE"),
        ("compile", "FILE", "--output", "made"),
        ("graph", "FILE"),
        ("explain", "E0101"),
        ("completion", "bash"),
        ("lsp", "--help"),
        ("--help",),
        ("--version",),
    ],
)
def test_no_compile_time_command_takes_root_or_namespaces(user: User, words: tuple[str, ...]) -> None:
    file = str(LABS / "quickstart.vlab")
    user(*(file if word == "FILE" else word for word in words), cwd=user.home)
    assert not (user.state / "keeper").exists()


def test_a_machine_that_forbids_it_says_so_with_the_setting(lab_name: str) -> None:
    user = User(61003, lab_name, FORBIDDEN)
    try:
        result = user("up", LABS / "quickstart.vlab", status=1)
        assert "sysctl -w user.max_user_namespaces=" in result.err
        assert "sudo" in result.err
        assert user("ls").out == "no lab is running\n"
        user("check", LABS / "quickstart.vlab")
        assert not user.processes()
    finally:
        user.close()
