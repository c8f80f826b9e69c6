"""Many commands at once, on one lab and on many: all take turns, each tells the truth, and nothing is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from cli import World
from forks import forked, together, warm
from ground import Ground, apart
from sweep_labs import SweepLab, both

from vtopo.cli.world import backends_of
from vtopo.compile.resources import Resource
from vtopo.run.transaction import down, up

AT_ONCE = 20
TEXT = """\
bridge lan { subnet 10.0.0.0/24 }
host a { forward on }
host b
link a -- lan
link b -- lan
"""
LAB = SweepLab(TEXT, TEXT)


def bring_up(ground: Ground, lab: tuple[Resource, ...]) -> int:
    """1 if it says that it made the lab, 0 if there was nothing to do."""
    return int(bool(up(ground.lab, lab, "/race.vlab", backends_of(ground.lab), ground.state).plan))


def take_down(ground: Ground) -> int:
    """-1 if it says that it took the lab away, 0 if there was none."""
    return -int(not down(ground.lab, backends_of(ground.lab), ground.state).nothing)


def one_lab() -> None:
    ground = apart()
    before = ground.left()
    lab, _ = both(LAB, ground.lab)
    ground.learn(lab, lab)
    for seed in range(3):
        works: list[Callable[[], int]] = [partial(bring_up, ground, tuple(lab)), partial(take_down, ground)]
        said = together(random.Random(seed).choices(works, k=AT_ONCE))
        is_up = bool(ground.names())
        # Whoever says that it made the lab found it gone, and the other way round: so these take turns.
        assert sum(each or 0 for each in said) == int(is_up), said
        assert not is_up or ground.shape() == ground.lab_shape
        ground.must_up(lab)
        assert ground.shape() == ground.lab_shape
        ground.must_down()
        ground.is_as(before)


def many_labs() -> None:
    first = apart()
    before = first.left()
    grounds = [Ground(f"{first.lab}x{number}", first.state) for number in range(AT_ONCE)]
    labs = [tuple(both(LAB, ground.lab)[0]) for ground in grounds]

    def come_and_go(ground: Ground, lab: tuple[Resource, ...]) -> tuple[int, int, int]:
        return bring_up(ground, lab), take_down(ground), bring_up(ground, lab)

    said = together([partial(come_and_go, *each) for each in zip(grounds, labs, strict=True)])
    assert said == [(1, -1, 1)] * AT_ONCE
    shapes = [str(ground.shape()).replace(ground.lab, "") for ground in grounds]
    assert len({len(shape) for shape in shapes}) == 1, "they are all alike"
    gone = together([partial(take_down, ground) for ground in grounds])
    assert gone == [-1] * AT_ONCE
    first.is_as(before)


def test_twenty_commands_on_one_lab_take_turns_and_tell_the_truth(world: World) -> None:
    warm()
    forked(one_lab, world, 120)


def test_twenty_labs_come_and_go_at_once(world: World) -> None:
    warm()
    forked(many_labs, world, 120)
