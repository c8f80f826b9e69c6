"""Runs: all or nothing, whatever fails and whenever the process dies."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_backend import FakeBackend, Fuse, Killed, World
from hypothesis import given, settings
from hypothesis import strategies as st
from labs_in_code import address, bridge, fabric, host, link, pair, port, ring, route, scratch, without

from vtopo.backends.base import BackendError, Done, Outcome
from vtopo.compile.resources import KINDS, Resource
from vtopo.plan.diff import GONE
from vtopo.run.events import BatchDone, Event, Progress, RunFailed, RunStarted, StepFailed, Undone
from vtopo.run.transaction import DownResult, UpResult, down, preview, standing, up
from vtopo.state.folder import StateDamaged, StateDir, StateError
from vtopo.state.store import Store

LAB = pair()
# Adds, changes in place, replaces a host with all on it, and takes something away.
EDITED = (
    *without(pair(mtu=9000, second="bee"), "a:0.0.0.0/0/route"),
    host("c"),
    bridge("more"),
    port("c", "more"),
)


@dataclass
class Machine:
    """A machine with a state directory, whose processes come and go."""

    state: StateDir
    world: World = field(default_factory=World)
    events: list[Event] = field(default_factory=list)

    def backend(self, **how: object) -> FakeBackend:
        return FakeBackend(self.world, **how)  # type: ignore[arg-type]

    def up(self, lab: Sequence[Resource], backend: FakeBackend | None = None, **how: bool) -> UpResult:
        backends = [backend or self.backend()]
        return up("shop", lab, "/labs/shop.vlab", backends, self.state, on_event=self.events.append, **how)

    def down(self, backend: FakeBackend | None = None, **how: bool) -> DownResult:
        backends = [backend or self.backend()]
        return down("shop", backends, self.state, on_event=self.events.append, **how)

    def has(self, lab: Sequence[Resource]) -> bool:
        """Whether exactly `lab` exists and is recorded, and nothing is to be done about it."""
        return self.world.specs() == {(r.kind, r.id, str(r)) for r in lab} and not self.events_of_change(lab)

    def events_of_change(self, lab: Sequence[Resource]) -> bool:
        return bool(preview("shop", lab, [self.backend()], self.state))

    def is_clean(self) -> bool:
        return not self.world.resources and not self.state.names()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(StateDir(tmp_path / "state"))


def failing(action: str, id_: str, times: int = 1) -> Callable[[str, Resource], bool]:
    left = [times]

    def fault(asked: str, resource: Resource) -> bool:
        if (asked, resource.id) != (action, id_) or not left[0]:
            return False
        left[0] -= 1
        return True

    return fault


def failing_at(number: int) -> Callable[[str, Resource], bool]:
    """The step with this number, counted from 0, fails."""
    count = [0]

    def fault(_action: str, _resource: Resource) -> bool:
        count[0] += 1
        return count[0] == number + 1

    return fault


def test_up_makes_the_lab_and_down_leaves_nothing(machine: Machine) -> None:
    machine.up(LAB)
    assert machine.has(LAB)
    machine.down()
    assert machine.is_clean()


def test_up_again_has_nothing_to_do_and_writes_nothing(machine: Machine) -> None:
    machine.up(LAB)
    machine.events.clear()
    database = machine.state.folder("shop") / "state.db"
    before = database.read_bytes(), database.stat().st_mtime_ns
    backend = machine.backend()
    assert not machine.up(pair(), backend).plan
    assert (database.read_bytes(), database.stat().st_mtime_ns) == before
    assert not backend.calls
    assert not machine.events


def test_an_edit_touches_what_was_edited_and_nothing_else(machine: Machine) -> None:
    machine.up(LAB)
    backend = machine.backend()
    machine.up(pair(mtu=9000), backend)
    assert backend.calls == [("update", ("a--b/veth",))]
    assert machine.has(pair(mtu=9000))


def test_down_asks_only_for_the_outermost_containers(machine: Machine) -> None:
    machine.up(LAB)
    backend = machine.backend()
    machine.down(backend)
    assert sorted(id_ for _, ids in backend.calls for id_ in ids) == ["fabric", "scratch"]
    assert not backend.sweeps


def test_down_twice_finds_nothing_the_second_time(machine: Machine) -> None:
    machine.up(LAB)
    assert not machine.down().nothing
    assert machine.down().nothing
    assert machine.is_clean()


def test_down_without_records_goes_by_the_marks(machine: Machine) -> None:
    machine.up(LAB)
    machine.state.remove("shop")
    assert machine.down().swept == tuple(sorted(r.id for r in LAB))
    assert machine.is_clean()


def test_down_with_damaged_records_says_so_and_sweeps_when_told_to(machine: Machine) -> None:
    machine.up(LAB)
    (machine.state.folder("shop") / "state.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StateDamaged):
        machine.down()
    machine.down(sweep=True)
    assert machine.is_clean()


def test_events_count_every_step(machine: Machine) -> None:
    machine.up(ring(40))
    started, *_ = machine.events
    assert isinstance(started, RunStarted) and started.steps == 161
    done = [e for e in machine.events if isinstance(e, BatchDone)]
    assert [(e.kind, e.finished, e.count) for e in done] == [
        ("scratch", 1, 1),
        ("host", 40, 40),
        ("veth", 40, 40),
        ("address", 80, 80),
    ]
    assert [e.total_finished for e in machine.events if isinstance(e, Progress)][-1] == 161


def test_a_failure_is_undone_and_names_resource_reason_and_place(machine: Machine) -> None:
    with pytest.raises(RunFailed) as failed:
        machine.up(LAB, machine.backend(fault=failing("create", "b/host")))
    (failure,) = failed.value.failures
    assert str(failure) == "cannot create host b/host: No buffer space available"
    assert (failure.errno, str(failure.origin)) == (105, "a.vlab:3:1")
    assert failed.value.undone
    assert machine.is_clean()


def test_what_is_in_the_way_and_not_ours_survives(machine: Machine) -> None:
    machine.world.make(replace(host("b"), needs=(), within=()))
    machine.world.foreign.add("b/host")
    with pytest.raises(RunFailed, match="File exists"):
        machine.up(LAB)
    assert set(machine.world.resources) == {"b/host"}


def test_a_lab_without_its_records_is_not_made_a_second_time(machine: Machine) -> None:
    machine.up(LAB)
    before = dict(machine.world.resources)
    machine.state.remove("shop")
    with pytest.raises(StateError, match="vtopo down shop"):
        machine.up(LAB)
    assert machine.world.resources == before


def test_a_failed_edit_leaves_the_lab_as_it_was_without_disturbing_it(machine: Machine) -> None:
    machine.up(LAB)
    backend = machine.backend(fault=failing("create", "c/host"))
    with pytest.raises(RunFailed):
        machine.up((*pair(mtu=9000), host("c")), backend)
    assert machine.has(LAB)
    assert not [ids for action, ids in backend.calls if action == "delete" and ids != ("c/host",)]


def test_drift_that_was_there_before_is_there_after_an_undo(machine: Machine) -> None:
    machine.up(LAB)
    machine.world.resources["a--b/veth"] = link("a", "b", mtu=1400)
    machine.world.end("a:0.0.0.0/0/route")
    before = machine.world.specs()
    for number in range(4):
        with pytest.raises(RunFailed):
            machine.up((*LAB, host("c"), host("d")), machine.backend(fault=failing_at(number)))
        assert machine.world.specs() == before
    machine.up(LAB)
    assert machine.has(LAB)


def test_with_keep_failed_the_ruins_stay_and_are_recorded(machine: Machine) -> None:
    with pytest.raises(RunFailed) as failed:
        machine.up(LAB, machine.backend(fault=failing("create", "a--b/veth")), keep_failed=True)
    assert failed.value.kept and not failed.value.undone
    assert "a/host" in machine.world.resources
    machine.up(LAB)
    assert machine.has(LAB)


def test_an_undo_that_fails_says_what_is_left_and_keeps_it_recorded(machine: Machine) -> None:
    faults = failing("create", "a--b/veth"), failing("delete", "fabric")
    backend = machine.backend(fault=lambda action, r: any(fault(action, r) for fault in faults))
    with pytest.raises(RunFailed) as failed:
        machine.up(LAB, backend)
    assert [str(left) for left in failed.value.left] == [
        "cannot delete netns fabric: No buffer space available"
    ]
    assert not failed.value.undone
    assert isinstance(machine.events[-1], Undone) and machine.events[-1].left == failed.value.left
    assert "fabric" in machine.world.resources
    machine.down()
    assert machine.is_clean()


def test_down_goes_on_past_what_fails_and_can_be_run_again(machine: Machine) -> None:
    machine.up(LAB)
    with pytest.raises(RunFailed) as failed:
        machine.down(machine.backend(fault=failing("delete", "scratch")))
    assert [left.resource.id for left in failed.value.left] == ["scratch"]
    assert "fabric" not in machine.world.resources
    machine.down()
    assert machine.is_clean()


class Silent(FakeBackend):
    """Does its work and then loses its voice."""

    def create(self, batch: Sequence[Resource], handles: object) -> Iterator[Outcome]:
        outcomes = list(super().create(batch, handles))  # type: ignore[arg-type]
        yield from outcomes[:1]
        if len(outcomes) > 1:
            raise BackendError("the helper process died")


def test_what_nobody_reported_on_is_taken_away_as_well(machine: Machine) -> None:
    with pytest.raises(RunFailed, match="the helper process died"):
        machine.up(LAB, Silent(machine.world))
    assert machine.is_clean()


def test_a_silent_backend_is_a_failed_one(machine: Machine) -> None:
    class Mute(FakeBackend):
        def create(self, batch: Sequence[Resource], handles: object) -> Iterator[Outcome]:
            return iter([Done(r.id) for r in batch[1:]])

    with pytest.raises(RunFailed, match="did not say what became of it"):
        machine.up(LAB, Mute(machine.world))
    assert machine.is_clean()


def test_a_kind_that_nobody_takes_care_of_stops_before_anything_is_done(machine: Machine) -> None:
    backend = machine.backend(kinds=frozenset(KINDS) - {"veth"})
    with pytest.raises(BackendError, match="kind veth"):
        machine.up(LAB, backend)
    assert not backend.calls
    assert machine.is_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_between_two_steps_and_undoes_it(machine: Machine, number: int) -> None:
    def fault(action: str, resource: Resource) -> bool:
        if (action, resource.id) == ("create", "a--b/veth"):
            os.kill(os.getpid(), number)
        return False

    before = signal.getsignal(number)
    with pytest.raises(RunFailed) as failed:
        machine.up(LAB, machine.backend(fault=fault))
    assert failed.value.interrupted and failed.value.undone
    assert machine.is_clean()
    assert signal.getsignal(number) is before


def test_a_down_that_is_interrupted_says_that_it_is_not_done(machine: Machine) -> None:
    machine.up(LAB)

    def fault(action: str, resource: Resource) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    with pytest.raises(RunFailed) as failed:
        machine.down(machine.backend(fault=fault))
    assert failed.value.interrupted and not failed.value.undone
    machine.down()
    assert machine.is_clean()


def test_a_lab_stands_as_it_was_made_or_says_what_drifted(machine: Machine) -> None:
    machine.up(LAB)
    now = standing("shop", [machine.backend()], machine.state)
    assert (now.source, set(now.records.resources)) == ("/labs/shop.vlab", {r.id for r in LAB})
    assert not now.drift
    machine.world.end("a:0.0.0.0/0/route")
    (step,) = standing("shop", [machine.backend()], machine.state).drift.steps
    assert (step.resource.id, step.reason) == ("a:0.0.0.0/0/route", GONE)


def test_a_listener_that_fails_stops_the_run_and_it_is_undone(machine: Machine) -> None:
    def deaf(event: Event) -> None:
        if isinstance(event, BatchDone):
            raise BrokenPipeError("nobody reads this")

    with pytest.raises(RunFailed, match="BrokenPipeError"):
        up("shop", LAB, "/labs/shop.vlab", [machine.backend()], machine.state, on_event=deaf)
    assert machine.is_clean()


def test_records_that_cannot_be_written_stop_the_run_before_the_step(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend = Store.intend

    def full(self: Store, resources: Sequence[Resource]) -> None:
        if any(r.kind == "veth" for r in resources):
            raise StateError("the disk is full")
        intend(self, resources)

    monkeypatch.setattr(Store, "intend", full)
    backend = machine.backend()
    with pytest.raises(RunFailed, match="the disk is full"):
        machine.up(LAB, backend)
    assert not any("a--b/veth" in ids for action, ids in backend.calls if action == "create")
    assert machine.is_clean()


def test_an_undo_goes_on_without_records_and_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StateError("the disk is full")

    backend = machine.backend(fault=failing("create", "a--b/veth"))
    update = FakeBackend.delete

    def delete(self: FakeBackend, batch: Sequence[Resource], handles: object) -> Iterator[Outcome]:
        monkeypatch.setattr(Store, "settle", full)
        return update(self, batch, handles)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeBackend, "delete", delete)
    with pytest.raises(RunFailed) as failed:
        machine.up(LAB, backend)
    assert failed.value.unrecorded == "the disk is full"
    assert not machine.world.resources


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


def killed_everywhere(before: Sequence[Resource], act: Act) -> Iterator[Machine]:
    """The machine after a kill at each point of `act`, one after the other."""
    for at in range(10_000):
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            machine = Machine(StateDir(Path(folder) / "state"))
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


@pytest.mark.parametrize("name", ACTS)
def test_killed_at_any_instant_down_leaves_nothing(name: str) -> None:
    for machine in killed_everywhere(*ACTS[name]):
        machine.down()
        assert machine.is_clean()


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("wanted", [LAB, EDITED], ids=["as before", "edited"])
def test_killed_at_any_instant_the_next_up_finishes_the_job(name: str, wanted: Sequence[Resource]) -> None:
    for machine in killed_everywhere(*ACTS[name]):
        machine.up(wanted)
        assert machine.has(wanted)


@pytest.mark.parametrize("name", ["up", "edit"])
def test_whichever_step_fails_all_is_as_before(name: str, tmp_path: Path) -> None:
    before, act = ACTS[name]
    for number in range(10_000):
        machine = Machine(StateDir(tmp_path / str(number)))
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
@given(random_labs(), random_labs(), st.integers(0, 40))
def test_failing_on_the_way_from_any_lab_to_any_other(
    before: tuple[Resource, ...], after: tuple[Resource, ...], number: int
) -> None:
    with TemporaryDirectory() as folder:
        machine = Machine(StateDir(Path(folder) / "state"))
        machine.up(before)
        try:
            machine.up(after, machine.backend(fault=failing_at(number)))
        except RunFailed as failed:
            assert failed.undone
            assert machine.has(before)
        else:
            assert machine.has(after)
