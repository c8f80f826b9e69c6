"""Killed at any point of any run: the next `down` leaves nothing, and the next `up` finishes the job.

Every lab of tests/sweep_labs.py is swept. The points of a run are counted in one that is left alone; then it is
killed at one after the other, in a process of its own each time. `VTOPO_SWEEP=all` kills at each of them; without
it, all entries of the journal are tried, and of the same call from the same place only the first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import Faults, Point
from forks import in_worlds, warm
from ground import Ground, MachineGround, Ran, apart
from sweep_labs import LABS, SweepLab, both, lacking

from vtopo.backends import plugging
from vtopo.compile.resources import Resource
from vtopo.state.folder import StateDir

Wanted = Sequence[Resource]


@pytest.fixture(autouse=True)
def _no_guest_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The labs' guests have nothing to boot: there is no use in waiting for them before they are reset."""
    monkeypatch.setattr(plugging, "LETTING_GO", 0.5)


@dataclass(frozen=True)
class Act:
    """A run to be killed: whether the lab is up before it, and what it does with the lab and its edited form."""

    is_up: bool
    run: Callable[[Ground, Wanted, Wanted, Faults], Ran | None]


ACTS: dict[str, Act] = {
    "up": Act(False, lambda ground, lab, edited, faults: ground.up(lab, faults)),
    "edit": Act(True, lambda ground, lab, edited, faults: ground.up(edited, faults)),
    "down": Act(True, lambda ground, lab, edited, faults: ground.down(faults)),
}


def chosen(points: Sequence[Point]) -> list[int]:
    """Where to kill. What is between two calls is thought only, so what counts is what has just been done."""
    done = [at for at, point in enumerate(points) if point.is_done]
    if os.environ.get("VTOPO_SWEEP") == "all":
        return done
    # Every entry of the journal; of a batch's outcomes and of the same call from the same place, the first.
    first: dict[object, int] = {}
    for at in done:
        first.setdefault(at if points[at].call == "entry" else (points[at].call, points[at].caller), at)
    return sorted(first.values())


def count(ground: Ground, act: Act, lab: Wanted, edited: Wanted) -> Sequence[Point]:
    """The points of a run that is left alone."""
    if act.is_up:
        ground.must_up(lab)
    ran = act.run(ground, lab, edited, Faults())
    assert ran is not None
    assert ran.failure is None, ran.failure
    ground.must_down()
    return ran.points


def down_leaves_nothing(ground: Ground, act: Act, lab: Wanted, edited: Wanted, at: int) -> None:
    before = ground.left()
    if act.is_up:
        ground.must_up(lab)
    act.run(ground, lab, edited, Faults(kill_at=at))
    ground.must_down()
    ground.is_as(before)


def up_finishes_the_job(ground: Ground, act: Act, lab: Wanted, edited: Wanted, at: int) -> None:
    """What is wanted after a killed edit is the old lab, or now and then the new one."""
    if act.is_up and not ground.names():
        ground.must_up(lab)
    act.run(ground, lab, edited, Faults(kill_at=at))
    wanted, shape = (
        (edited, ground.edited_shape) if act is ACTS["edit"] and at % 4 == 0 else (lab, ground.lab_shape)
    )
    ground.must_up(wanted)
    assert ground.shape() == shape
    if wanted is edited:
        ground.must_up(lab)
    elif not act.is_up:
        ground.must_down()


Check = Callable[[Ground, Act, Wanted, Wanted, int], None]


def sweep(
    make: Callable[[], Ground], name: str, act: Act, check: Check, share: int, shares: int
) -> list[str]:
    """Check at every point that falls to this share; what went wrong where."""
    ground = make()
    lab, edited = both(LABS[name], ground.lab)
    before = ground.left()
    ground.learn(lab, edited)
    points = count(ground, act, lab, edited)
    at_all = chosen(points)[:: 1 if os.environ.get("VTOPO_SWEEP") == "all" else LABS[name].every]
    assert len(at_all) * LABS[name].every > 10, "there must be something to sweep over"
    wrong = []
    for at in at_all[share::shares]:
        try:
            check(ground, act, lab, edited, at)
        except AssertionError as e:
            wrong.append(f"killed after {points[at]} ({at}): {e}")
            ground.clear()
    if not wrong:
        ground.must_down()
        ground.is_as(before)
    return wrong


def everywhere(lab: SweepLab, name: str, act: Act, check: Check, tmp_path: Path, lab_name: str) -> list[str]:
    """The sweep in as many worlds as there are CPUs to use, or on the machine for a lab that needs it."""
    if reason := lacking(lab):
        pytest.skip(reason)
    warm()
    if not lab.apart:
        ground = MachineGround(lab_name, StateDir(tmp_path / "state"))
        if reason := ground.unable(both(lab, lab_name)[1]):
            pytest.skip(reason)
        return sweep(lambda: ground, name, act, check, 0, 1)
    return in_worlds(lambda share, shares: sweep(lambda: apart(share), name, act, check, share, shares))


NAMES = [pytest.param(name, marks=pytest.mark.beforehand(*lab.daemons)) for name, lab in LABS.items()]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", NAMES)
def test_killed_anywhere_down_leaves_nothing(name: str, act: str, tmp_path: Path, lab_name: str) -> None:
    assert everywhere(LABS[name], name, ACTS[act], down_leaves_nothing, tmp_path, lab_name) == []


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", NAMES)
def test_killed_anywhere_the_next_up_finishes_the_job(
    name: str, act: str, tmp_path: Path, lab_name: str
) -> None:
    assert everywhere(LABS[name], name, ACTS[act], up_finishes_the_job, tmp_path, lab_name) == []
