"""Runs: all or nothing, whatever fails and whenever the process dies."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from fake_machine import LAB, Machine, failing, failing_at
from labs_in_code import bridge, host, link, pair, ring

from vtopo.backends.base import BackendError, Done, Outcome
from vtopo.compile.resources import KINDS, Resource
from vtopo.plan.diff import GONE
from vtopo.run.events import BatchDone, Event, Progress, RunFailed, RunStarted, Took, Undone
from vtopo.run.interrupt import STOPPING
from vtopo.run.transaction import standing, up
from vtopo.state.folder import StateDamaged, StateDir, StateError
from vtopo.state.store import Store


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(StateDir(tmp_path / "state"))


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
    assert {type(e) for e in machine.events} == {Took}


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
    started, *_ = (e for e in machine.events if not isinstance(e, Took))
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
        drift = standing("shop", [machine.backend()], machine.state).drift
        assert {step.resource.id for step in drift.steps} == {"a--b/veth", "a:0.0.0.0/0/route"}
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
    with pytest.raises(RunFailed, match="this version of vtopo only checks it") as raised:
        machine.up(LAB, backend)
    assert raised.value.refused
    assert not backend.calls
    assert machine.is_clean()


def test_what_this_machine_cannot_do_is_said_before_anything_is_done(machine: Machine) -> None:
    machine.up(LAB)
    backend = machine.backend(refuses={"bridge": "no room", "host": "no kernel"})
    with pytest.raises(RunFailed) as raised:
        machine.up((*LAB, host("c"), bridge("more")), backend)
    assert raised.value.refused
    assert [(f.resource.kind, f.reason) for f in raised.value.failures] == [
        ("host", "no kernel"),
        ("bridge", "no room"),
    ]
    assert not backend.calls
    assert machine.has(LAB)


@pytest.mark.parametrize("number", STOPPING)
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


def test_a_signal_that_is_ignored_is_so_in_a_run_too(machine: Machine) -> None:
    def fault(action: str, resource: Resource) -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        return False

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        machine.up(LAB, machine.backend(fault=fault))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert machine.has(LAB)


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
