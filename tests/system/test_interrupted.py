"""Whenever a run is stopped, killed or met by another, the lab ends up whole or gone."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cli import NETNS, Node, Vtopo, eventually, inits, marked
from machine import look, settle

MANY = "host h[1..300]\nlink h[1..299] -- h[2..300]\nlink h[300]:eth2 10.0.0.1/24 -- h[1]:eth2 10.0.0.2/24\n"

Moment = Callable[[Vtopo], object]


def links_of(node: Node) -> Iterable[str]:
    """The interfaces in a namespace, none as long as there is only a name of it."""
    try:
        return node.links()
    except subprocess.CalledProcessError:
        return ()


MOMENTS: dict[str, Moment] = {
    "as the file is read": lambda v: marked(v.lab),
    "at the first hosts": lambda v: inits(v.lab),
    "half of the hosts made": lambda v: len(inits(v.lab)) >= 150,
    "at the first name": lambda v: v.names(),
    "among the links": lambda v: len(v.names()) == 300 and "eth0" in links_of(v.node("h20")),
}


def at(moment: Moment, vtopo: Vtopo, process: subprocess.Popen[bytes]) -> None:
    """Wait for a moment of a run, or its end."""
    eventually(lambda: moment(vtopo) or process.poll() is not None, 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_up_leaves_the_machine_as_it_was(
    vtopo: Vtopo, moment: str, number: signal.Signals
) -> None:
    before = look()
    with vtopo.start("up", vtopo.write(MANY)) as process:
        at(MOMENTS[moment], vtopo, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"interrupted" in err or b"undone: all is as it was before" in err
    assert b"Traceback" not in err
    assert settle(before) == []


@pytest.mark.parametrize("moment", ["as the file is read", "half of the hosts made", "among the links"])
def test_an_up_whose_terminal_goes_away_leaves_the_machine_as_it_was(vtopo: Vtopo, moment: str) -> None:
    before = look()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *vtopo.argv("up", vtopo.write(MANY))],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=vtopo.folder,
        env=vtopo.environment(),
    ) as process:
        os.close(theirs)
        at(MOMENTS[moment], vtopo, process)
        os.close(ours)
        process.wait(60)
    assert process.returncode in (1, 130), "1 where it had more to say, and nobody to say it to"
    assert settle(before) == []


def test_an_up_by_nohup_goes_on_when_its_terminal_goes_away(vtopo: Vtopo) -> None:
    lab = vtopo.write(MANY)
    with vtopo.start("up", lab, by=["nohup"]) as process:
        at(MOMENTS["at the first hosts"], vtopo, process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    is_whole(vtopo, lab)


def test_a_command_in_a_host_by_nohup_goes_on_when_the_terminal_goes_away(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a\n"))
    command = ["sh", "-c", "echo begun; sleep 1; echo over"]
    with vtopo.start("exec", "--lab", vtopo.lab, "a", "--", *command, by=["nohup"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"over\n"), err


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_killed_up_the_next_one_finishes_the_job(vtopo: Vtopo, moment: str) -> None:
    lab = vtopo.write(MANY)
    killed(vtopo, moment, "up", lab)
    vtopo("up", lab)
    is_whole(vtopo, lab)


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_killed_up_down_leaves_nothing(vtopo: Vtopo, moment: str) -> None:
    before = look()
    lab = vtopo.write(MANY)
    killed(vtopo, moment, "up", lab)
    vtopo("down", lab)
    assert settle(before) == []


DYING: dict[str, Moment] = {
    "as it starts": lambda _: time.sleep(0.3) or True,
    "at the first deaths": lambda v: len(inits(v.lab)) < 300,
    "at the last deaths": lambda v: len(inits(v.lab)) < 20,
}


@pytest.mark.parametrize("moment", DYING)
def test_after_a_killed_down_up_finishes_the_job_and_down_leaves_nothing(vtopo: Vtopo, moment: str) -> None:
    before = look()
    lab = vtopo.write(MANY)
    vtopo("up", lab)
    killed(vtopo, moment, "down", vtopo.lab)
    vtopo("up", lab)
    is_whole(vtopo, lab)
    killed(vtopo, moment, "down", vtopo.lab)
    vtopo("down", lab)
    assert settle(before) == []


def killed(vtopo: Vtopo, moment: str, *args: object) -> None:
    """Start a command and kill it at a moment, or let it end where it was quicker."""
    condition = {**MOMENTS, **DYING}[moment] if args[0] == "up" else DYING[moment]
    with vtopo.start(*map(str, args)) as process:
        at(condition, vtopo, process)
        process.kill()
        process.communicate(timeout=60)


def is_whole(vtopo: Vtopo, lab: Path) -> None:
    """All of MANY is there, and vtopo knows it."""
    assert len(vtopo.names()) == len(inits(vtopo.lab)) == 300
    assert len({os.stat(NETNS / name).st_ino for name in vtopo.names()}) == 300  # noqa: PTH116
    for host in ("h1", "h150", "h300"):
        ends = [link for name, link in vtopo.node(host).links().items() if name != "lo"]
        assert len(ends) == 2
        assert all({"UP", "LOWER_UP"} <= set(end["flags"]) for end in ends)
    assert vtopo.node("h1").addresses("eth2") == {"10.0.0.2/24"}
    vtopo("plan", "--exit-code", lab)


def test_two_ups_of_one_lab_at_once_make_it_once(vtopo: Vtopo) -> None:
    lab = vtopo.write(MANY)
    with vtopo.start("up", lab) as one, vtopo.start("up", lab) as other:
        outputs = [process.communicate(timeout=90) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], outputs
    assert sorted("nothing to do" in out.decode() for out, _ in outputs) == [False, True]
    assert any("waiting for" in err.decode() for _, err in outputs)
    is_whole(vtopo, lab)


def test_up_beside_down_of_one_lab_take_turns(vtopo: Vtopo) -> None:
    lab = vtopo.write(MANY)
    vtopo("up", lab)
    with vtopo.start("down", lab) as down, vtopo.start("up", lab) as up:
        outputs = [process.communicate(timeout=90) for process in (down, up)]
    assert [down.returncode, up.returncode] == [0, 0], outputs
    if vtopo.names():
        is_whole(vtopo, lab)
    else:
        assert inits(vtopo.lab) == []


def test_a_pipe_behind_up_ends_with_it(vtopo: Vtopo) -> None:
    lab = vtopo.write("host a\nhost b\n")
    script = f"{shlex.join(vtopo.argv('up', lab))} | cat"
    env = vtopo.environment()
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, timeout=30, check=True)
    assert b"up in" in done.stdout
