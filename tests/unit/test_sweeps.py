"""Runs disturbed at every single point of them, and from any lab to any other: all or nothing, still."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_backend import FakeBackend, Fuse, Killed
from fake_machine import EDITED, LAB, SLOW, Machine, failing, failing_at
from hypothesis import given, settings
from hypothesis import strategies as st
from labs_in_code import address, bridge, fabric, host, link, port, route, scratch

from vtopo.compile.resources import Resource
from vtopo.run.events import RunFailed, StepFailed
from vtopo.state.folder import StateDir
from vtopo.state.store import Store

# Sweeps: the same run, disturbed at every single point of it.

Act = Callable[[Machine, FakeBackend], object]


def fail_late(machine: Machine, backend: FakeBackend) -> None:
    """An edit whose last creation fails, so that nearly all of it is undone."""
    backend.fault = failing("create", "a:eth0-b:10.0.0.1/24/address")
    with pytest.raises(RunFailed):
        machine.up(EDITED, backend)


ACTS: dict[str, tuple[Sequence[Resource], Act]] = {
    "up": ((), lambda machine, backend: machine.up(LAB, backend)),
    "edit": (LAB, lambda machine, backend: machine.up(EDITED, backend)),
    "down": (LAB, lambda machine, backend: machine.down(backend)),
    "undo": (LAB, lambda machine, backend: fail_late(machine, backend)),
}
JOURNAL = ("begin", "intend", "changed", "leaving", "settle")


def fused(monkeypatch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    """The journal burns the same fuse as the backend: a tick before and a tick after each of its writes."""

    def wrap(write: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: object, **kwargs: object) -> None:
            fuse.tick()
            write(*args, **kwargs)
            fuse.tick()

        return wrapped

    for name in JOURNAL:
        monkeypatch.setattr(Store, name, wrap(getattr(Store, name)))


def killed_everywhere(
    before: Sequence[Resource], act: Act, slow: frozenset[str] = frozenset()
) -> Iterator[Machine]:
    """The machine after a kill at each point of `act`, one after the other."""
    for at in range(10_000):
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            machine = Machine(StateDir(Path(folder) / "state"), slow)
            if before:
                machine.up(before)
            fuse = Fuse(at)
            fused(patch, fuse)
            try:
                act(machine, machine.backend(fuse=fuse))
            except Killed:
                patch.undo()
                yield machine
            else:
                assert at > 10, "the sweep must have hit something"
                return


ALONE_OR_BESIDE = pytest.mark.parametrize("slow", [frozenset(), SLOW], ids=["in turn", "beside"])


@ALONE_OR_BESIDE
@pytest.mark.parametrize("name", ACTS)
def test_killed_at_any_instant_down_leaves_nothing(name: str, slow: frozenset[str]) -> None:
    for machine in killed_everywhere(*ACTS[name], slow):
        machine.down()
        assert machine.is_clean()


@ALONE_OR_BESIDE
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("wanted", [LAB, EDITED], ids=["as before", "edited"])
def test_killed_at_any_instant_the_next_up_finishes_the_job(
    name: str, wanted: Sequence[Resource], slow: frozenset[str]
) -> None:
    for machine in killed_everywhere(*ACTS[name], slow):
        machine.up(wanted)
        assert machine.has(wanted)


@ALONE_OR_BESIDE
@pytest.mark.parametrize("name", ["up", "edit"])
def test_whichever_step_fails_all_is_as_before(name: str, slow: frozenset[str], tmp_path: Path) -> None:
    before, act = ACTS[name]
    for number in range(10_000):
        machine = Machine(StateDir(tmp_path / str(number)), slow)
        if before:
            machine.up(before)
        try:
            act(machine, machine.backend(fault=failing_at(number)))
        except RunFailed as failed:
            assert failed.undone
            assert [e for e in machine.events if isinstance(e, StepFailed)] == list(failed.failures)
            assert machine.has(before) if before else machine.is_clean()
        else:
            assert number > 5
            return


# Any lab to any other.

NODES = ("a", "b", "c", "d")
MTUS = st.sampled_from([1400, 1500, 9000])


@st.composite
def random_labs(draw: st.DrawFn) -> tuple[Resource, ...]:
    """A random lab of a few hosts and bridges, with links, addresses and routes between them."""
    nodes = draw(st.lists(st.sampled_from(NODES), unique=True))
    bridges = draw(st.lists(st.sampled_from(["lan", "wan"]), unique=True))
    out: list[Resource] = [scratch(), fabric()]
    out += [host(n, draw(st.sampled_from([n, "other"]))) for n in nodes]
    out += [
        bridge(b, draw(MTUS), draw(st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"])))
        for b in bridges
    ]
    for i, a in enumerate(nodes):
        for b in nodes[i + 1 :]:
            if draw(st.booleans()):
                wire = link(a, b, draw(MTUS), draw(st.sampled_from(["eth0", "eth1"])))
                one = address(a, wire, draw(st.sampled_from([f"10.{i}.0.1/24", f"10.{i}.0.2/24"])) + b)
                out += [wire, one]
                if draw(st.booleans()):
                    out.append(route(a, one, f"{b}/32", draw(st.sampled_from(["10.0.0.7", "10.0.0.8"]))))
        out += [port(a, b, draw(MTUS)) for b in bridges if draw(st.booleans())]
    return tuple(draw(st.permutations(out)))


@settings(max_examples=100, deadline=None)
@given(random_labs(), random_labs())
def test_from_any_lab_to_any_other(before: tuple[Resource, ...], after: tuple[Resource, ...]) -> None:
    with TemporaryDirectory() as folder:
        machine = Machine(StateDir(Path(folder) / "state"))
        machine.up(before)
        assert machine.has(before)
        machine.up(after)
        assert machine.has(after)
        machine.down()
        assert machine.is_clean()


@settings(max_examples=100, deadline=None)
@given(random_labs(), random_labs(), st.integers(0, 40), st.sampled_from([frozenset(), SLOW]))
def test_failing_on_the_way_from_any_lab_to_any_other(
    before: tuple[Resource, ...], after: tuple[Resource, ...], number: int, slow: frozenset[str]
) -> None:
    with TemporaryDirectory() as folder:
        machine = Machine(StateDir(Path(folder) / "state"), slow)
        machine.up(before)
        try:
            machine.up(after, machine.backend(fault=failing_at(number)))
        except RunFailed as failed:
            assert failed.undone
            assert machine.has(before)
        else:
            assert machine.has(after)
