"""Whichever call is refused, and with whichever of its natural errors: all is undone, and the error says whose it is.

The calls are those of vtopo itself: system calls, netlink messages, and those of the zygote that makes hosts. Each
fails once, in a run of its own, without having been carried out. So do the requests to a Docker engine.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
from cli import World
from faults import NATURAL, Faults, Point
from forks import forked, in_worlds, warm
from ground import STATE, Ground, MachineGround, Ran, apart
from sweep_labs import LABS, both, lacking

from vtopo.backends.base import Present
from vtopo.compile.resources import Resource
from vtopo.plan.diff import diff
from vtopo.plan.plan import Action
from vtopo.state.folder import StateDir

Wanted = Sequence[Resource]
NEVER = 1 << 30
EVERY = 8
"""Of the points of a lab with containers, whose runs take seconds, each so manieth is tried."""


def chosen(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Which point fails with which errno: the first call from each place, and every netlink message."""
    picked: list[tuple[int, int]] = []
    turns = {name: itertools.cycle(numbers) for name, numbers in NATURAL.items()}
    sites: dict[tuple[str, str], int] = {}
    for at, point in enumerate(points):
        numbers = NATURAL.get(point.call, ())
        site = (point.what if point.call in ("netlink", "engine") else point.call, point.caller)
        seen = sites.setdefault(site, 0)
        if seen < len(numbers) and (seen == 0 or point.call == "netlink"):
            number = next(turns[point.call])
            # Of what is to be deleted this is no error: it is gone. The kinds of deletions are 17, 21, 25, 29.
            is_answer = (
                number == errno.ENODEV and point.call == "netlink" and int(point.what.split()[1]) % 4 == 1
            )
            picked.append((at, errno.EPERM if is_answer else number))
        sites[site] += 1
    return picked


def of_containers(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Of these, what no lab without containers does; of questions to the engine, those before anything is made."""
    made = next(at for at, point in enumerate(points) if point.call in ("create", "update", "delete"))

    def counts(at: int, point: Point) -> bool:
        if point.call == "engine":
            return at < made or "GET" not in point.what or ".docker_containers" in point.caller
        return ".docker_" in point.caller or "names.point" in point.caller

    return [(at, number) for at, number in chosen(points) if counts(at, points[at])]


class Fails:
    """One lab, and what every failing run of it must be like."""

    def __init__(self, name: str, ground: Ground) -> None:
        self.ground = ground
        self.chosen = of_containers if name == "containers" else chosen
        every = LABS[name].every if LABS[name].apart else EVERY
        self.every = 1 if os.environ.get("VTOPO_SWEEP") == "all" else every
        self.lab, self.edited = both(LABS[name], self.ground.lab)
        self.ground.learn(self.lab, self.edited)
        self.clean = self.ground.left()
        plan = diff(self.edited, {r.id: r for r in self.lab}, {r.id: Present(r) for r in self.lab})
        ended = {step.resource.id for step in plan.steps if step.action is Action.DELETE}
        self.kept = [r for r in self.lab if r.id not in ended]

    def up(self, faults: Faults) -> None:
        """An `up` from nothing; what is wrong about its end."""
        ran = self.ground.up(self.lab, faults)
        assert ran is not None
        if ran.failure is None:
            assert self.ground.shape() == self.ground.lab_shape
            self.ground.must_down()
        else:
            self.is_well_said(ran, faults.number)
        self.ground.is_as(self.clean)

    def edit(self, faults: Faults) -> None:
        """An edit of the lab that runs."""
        if not self.ground.names():
            self.ground.must_up(self.lab)
        before = self.ground.inhabitants(self.kept)
        ran = self.ground.up(self.edited, faults)
        assert ran is not None
        if ran.failure is None:
            assert self.ground.shape() == self.ground.edited_shape
            self.ground.must_up(self.lab)
        else:
            self.is_well_said(ran, faults.number, self.edited)
            assert self.ground.inhabitants(self.kept) == before, "the lab went on as it was"
        assert self.ground.shape() == self.ground.lab_shape
        if ran.failure is not None:
            self.ground.must_up(self.lab)

    def down(self, faults: Faults) -> None:
        """A `down`, and if it fails another."""
        self.ground.must_up(self.lab)
        ran = self.ground.down(faults)
        assert ran is not None
        if ran.failure is not None:
            assert os.strerror(faults.number) in ran.failure.text, ran.failure
            self.ground.must_down()
        self.ground.is_as(self.clean)

    def is_well_said(self, ran: Ran, number: int, wanted: Wanted | None = None) -> None:
        """The failure was undone and names resource, line and reason."""
        assert ran.failure is not None
        assert ran.failure.undone, ran.failure
        texts = [str(step) for step in ran.failure.steps] or [ran.failure.text]
        assert any(os.strerror(number) in text for text in texts), (number, texts)
        # What is no longer in the text has no place there.
        asked = {r.id for r in (self.lab if wanted is None else wanted)}
        assert all(step.origin for step in ran.failure.steps if step.resource.id in asked), texts

    def sweep(self, act: str, share: int = 0, shares: int = 1) -> list[str]:
        """What was wrong where, among the points of one share."""
        run: Callable[[Faults], Any] = {"up": self.up, "edit": self.edit, "down": self.down}[act]
        wrong = []
        points = self.points(act)
        for at, number in self.chosen(points)[:: self.every][share::shares]:
            try:
                run(Faults(fail_at=at, number=number))
            except AssertionError as e:
                wrong.append(f"{errno.errorcode[number]} at {points[at]} ({at}): {e}")
                self.ground.clear()
        if self.ground.names():
            self.ground.must_down()
        return wrong

    def points(self, act: str) -> Sequence[Point]:
        """What a run calls that nothing is refused to."""
        if act != "up":
            self.ground.must_up(self.lab)
        faults = Faults(fail_at=NEVER)
        ran = {
            "up": lambda: self.ground.up(self.lab, faults),
            "edit": lambda: self.ground.up(self.edited, faults),
            "down": lambda: self.ground.down(faults),
        }[act]()
        assert ran is not None
        assert ran.failure is None
        self.ground.must_down()
        return ran.points


@pytest.mark.parametrize("act", ["up", "edit", "down"])
@pytest.mark.parametrize("name", [name for name, lab in LABS.items() if lab.apart])
def test_whichever_call_is_refused_all_is_undone_and_told(name: str, act: str) -> None:
    if reason := lacking(LABS[name]):
        pytest.skip(reason)
    warm()
    wrong = in_worlds(lambda share, shares: Fails(name, apart(share)).sweep(act, share, shares))
    assert wrong == [], "\n\n".join(wrong)


def test_whatever_is_refused_to_a_lab_with_containers_all_is_undone_and_told(
    engine: docker.APIClient, tmp_path: Path, lab_name: str
) -> None:
    lab = Fails("containers", MachineGround(lab_name, StateDir(tmp_path / "state")))
    assert [wrong for act in ("up", "edit", "down") for wrong in lab.sweep(act)] == []


ZYGOTE = """\
import ctypes, os, signal
at = {at}
flag = open({flag!r}, "ab", buffering=0)  # later there is no way to it
def reach(what):
    global at
    at -= 1
    if at != -1:
        return 0
    flag.write(repr(what).encode())
    if {number} < 0:
        os.kill(os.getpid(), -{number})
    return {number}
def wrap(name, real):
    def call(*args, **kwargs):
        if number := reach((name, *args[:3])):
            raise OSError(number, os.strerror(number), args[0] if args else None)
        return real(*args, **kwargs)
    setattr(os, name, call)
for name in ("mkdir", "open", "write", "stat", "chdir", "chroot", "posix_spawn", "pipe"):
    wrap(name, getattr(os, name))
class Call:
    def __init__(self, name, real):
        self.__dict__.update(name=name, real=real)
    def __setattr__(self, name, value):
        setattr(self.real, name, value)
    def __call__(self, *args):
        if number := reach((self.name, *args[:3])):
            ctypes.set_errno(number)
            return -1
        return self.real(*args)
class Libc:
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return Call(name, getattr(self.real, name))
real = ctypes.PyDLL
ctypes.PyDLL = lambda *args, **kwargs: Libc(real(*args, **kwargs))
with open({program!r}) as f:
    code = compile(f.read(), {program!r}, "exec")
exec(code, {{"__name__": "__main__", "__file__": {program!r}}})
"""


def disturb_zygote(at: int, number: int, flag: Path, patience: float = 30) -> None:
    """In the zygotes, the call with this number, counted from 0, fails; with a negative number it is a signal."""
    from vtopo.backends import zygotes

    # Its command line must be that of a zygote: by that one is known.
    program = STATE / "disturbed/vtopo/backends/zygote.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(ZYGOTE.format(at=at, number=number, flag=str(flag), program=zygotes.program_path()))
    zygotes.program_path = lambda: str(program)
    zygotes.PATIENCE = patience


def zygote_sweep(name: str, share: int, shares: int) -> list[str]:
    """What was wrong where, in `up` with a zygote that is refused something, at the calls of one share."""
    lab = Fails(name, apart(share))
    flag = STATE / "reached"
    refused = itertools.cycle([errno.EPERM, errno.ENOSPC, errno.ENOMEM, errno.EMFILE])
    wrong = []
    for at, refusal in zip(itertools.count(), refused):
        if at % shares != share:
            continue
        for number in (-signal.SIGKILL, refusal):
            flag.write_bytes(b"")
            ran = lab.ground.up(lab.lab, first=partial(disturb_zygote, at, number, flag))
            try:
                assert ran is not None
                if ran.failure is None:
                    assert lab.ground.shape() == lab.ground.lab_shape
                    lab.ground.must_down()
                elif number > 0:
                    lab.is_well_said(ran, number)
                lab.ground.is_as(lab.clean)
            except AssertionError as e:
                wrong.append(f"{number} at call {at} of the zygote, {flag.read_bytes()!r}: {e}")
                lab.ground.clear()
        if not flag.read_bytes():
            assert at > 30
            return wrong
    return wrong


@pytest.mark.parametrize("name", ["links", "limits"])
def test_whatever_is_refused_to_the_zygote_all_is_undone_and_told(name: str) -> None:
    warm()
    wrong = in_worlds(partial(zygote_sweep, name))
    assert wrong == [], "\n\n".join(wrong)


def test_a_zygote_that_says_nothing_is_given_up(world: World) -> None:
    def silent() -> tuple[str, str]:
        ground = apart()
        lab, _ = both(LABS["links"], ground.lab)
        before = ground.left()
        reached = STATE / "reached"
        ran = ground.up(lab, first=lambda: disturb_zygote(30, -signal.SIGSTOP, reached, 3))
        assert ran is not None
        assert ran.failure is not None
        assert ran.failure.undone
        assert reached.read_bytes()
        ground.is_as(before)
        return ran.failure.text, str(ran.failure.steps[0].origin)

    warm()
    text, origin = forked(silent, world).value or ("", "")
    assert "no answer for" in text
    assert origin.startswith("sweep.vlab:")
