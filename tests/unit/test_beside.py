"""Slow steps beside the loop: what goes on at once, what waits for what, and how all of it is stopped."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_machine import LAB, Machine, failing
from labs_in_code import address, host, link, scratch, without

from vtopo.backends.base import Failed, Outcome, Watch, Weight
from vtopo.backends.machine import available_memory, cpus
from vtopo.compile.resources import Resource
from vtopo.run.events import BatchStarted, RunFailed
from vtopo.run.limit import Limit
from vtopo.state.folder import StateDir

PATIENCE = 10.0
FIVE = (scratch(), *(host(name) for name in "abcde"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(StateDir(tmp_path / "state"), frozenset({"host"}))


class Crowd:
    """Counts who is in a step at the same time; each stays until `enough` are, or nobody can join any more."""

    def __init__(self, enough: int) -> None:
        self.inside = self.most = 0
        self._enough = enough
        self._change = threading.Condition()

    def __call__(self, action: str, resource: Resource) -> Outcome | None:
        if resource.kind != "host":
            return None
        with self._change:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._change.notify_all()
            self._change.wait_for(lambda: self.most >= self._enough, PATIENCE)
            # Long enough for one too many to come in, if there is one.
            self._change.wait_for(lambda: self.most > self._enough, 0.05)
            self.inside -= 1
        return None


@pytest.mark.parametrize("jobs", [1, 2, 3, 5])
def test_as_many_slow_steps_as_asked_for_go_on_at_once(machine: Machine, jobs: int) -> None:
    crowd = Crowd(jobs)
    machine.up(FIVE, machine.backend(pause=crowd), jobs=jobs)
    assert crowd.most == jobs
    assert machine.has(FIVE)
    crowd = Crowd(jobs)
    machine.down(machine.backend(pause=lambda a, r: crowd(a, r) if a == "delete" else None), jobs=jobs)
    assert machine.is_clean()


def test_slow_deletes_go_on_at_once_as_well(machine: Machine) -> None:
    machine.up(FIVE)
    crowd = Crowd(4)
    machine.up((scratch(),), machine.backend(pause=crowd), jobs=4)
    assert crowd.most == 4
    assert machine.has((scratch(),))


def test_each_slow_step_is_a_call_of_its_own(machine: Machine) -> None:
    backend = machine.backend()
    machine.up(FIVE, backend)
    assert sorted(backend.calls[1:]) == [("create", (f"{name}/host",)) for name in "abcde"]
    started = [e for e in machine.events if isinstance(e, BatchStarted)]
    assert [(e.kind, e.count, e.beside) for e in started] == [("scratch", 1, False)] + [("host", 1, True)] * 5
    assert len({e.number for e in started}) == 6


def test_nothing_waits_for_a_slow_stranger(machine: Machine) -> None:
    """Host c gets ready only once the link of the others has its addresses."""
    wire = link("a", "b")
    lab = (scratch(), host("a"), host("b"), host("c"), wire, one := address("a", wire, "10.0.0.1/24"))
    made = threading.Event()

    def pause(_: str, resource: Resource) -> Outcome | None:
        if resource.id == one.id:
            made.set()
        if resource.id == "c/host" and not made.wait(PATIENCE):
            return Failed(resource.id, "the address was never made")
        return None

    machine.up(lab, machine.backend(pause=pause), jobs=3)
    assert machine.has(lab)


def test_what_needs_a_slow_one_waits_for_it(machine: Machine) -> None:
    backend = machine.backend()
    machine.up(LAB, backend)
    order = [id_ for _, ids in backend.calls for id_ in ids]
    assert max(order.index("a/host"), order.index("b/host")) < order.index("a--b/veth")


def test_a_slow_step_that_fails_costs_nothing_that_runs(machine: Machine) -> None:
    machine.up(LAB)
    backend = machine.backend(fault=failing("create", "c/host"))
    with pytest.raises(RunFailed, match="c/host"):
        machine.up((*without(LAB, "lan/bridge"), host("c")), backend)
    assert not [ids for action, ids in backend.calls if action == "delete" and "c/host" not in ids]
    assert machine.has(LAB)


def waiting(watch: Watch, *ids: str) -> Callable[[str, Resource], Outcome | None]:
    """Hosts that never get ready, as a good backend behaves: they give up when the run is to stop."""

    def pause(action: str, resource: Resource) -> Outcome | None:
        if action != "create" or resource.id not in ids:
            assert not watch.stop.is_set() or resource.id in ids or action == "create"
            return None
        if watch.stop.wait(PATIENCE):
            return Failed(resource.id, "given up", errno.ECANCELED)
        return Failed(resource.id, "nobody told it to stop")

    return pause


def test_a_failure_stops_the_waiting_of_others_and_is_told_alone(machine: Machine) -> None:
    watch = Watch()
    backend = machine.backend(pause=waiting(watch, "a/host", "b/host"), fault=failing("create", "d/host"))
    with pytest.raises(RunFailed) as failed:
        machine.up(FIVE, backend, watch=watch, jobs=5)
    assert [f.resource.id for f in failed.value.failures] == ["d/host"]
    assert failed.value.undone
    assert not watch.stop.is_set()
    assert machine.is_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_slow_steps_undoes_all(machine: Machine, number: int) -> None:
    machine.up(FIVE)
    watch = Watch()
    gives_up = waiting(watch, "x/host", "y/host")

    def pause(action: str, resource: Resource) -> Outcome | None:
        if (action, resource.id) == ("create", "y/host"):
            os.kill(os.getpid(), number)
        return gives_up(action, resource)

    with pytest.raises(RunFailed) as failed:
        machine.up((*FIVE, host("x"), host("y")), machine.backend(pause=pause), watch=watch, jobs=9)
    assert (failed.value.interrupted, failed.value.undone, failed.value.failures) == (True, True, ())
    assert machine.has(FIVE)


def test_what_was_not_begun_is_not_recorded(machine: Machine) -> None:
    backend = machine.backend(fault=failing("create", "a/host"))
    with pytest.raises(RunFailed):
        machine.up(FIVE, backend, jobs=1, keep_failed=True)
    assert [ids for action, ids in backend.calls if action == "create"] == [("scratch",), ("a/host",)]
    machine.up((scratch(),))
    assert machine.has((scratch(),))


def test_a_slow_backend_that_falls_silent_is_cleared_away_after(machine: Machine) -> None:
    def pause(action: str, resource: Resource) -> Outcome | None:
        if (action, resource.id) == ("create", "b/host"):
            raise RuntimeError("the daemon went away")
        return None

    with pytest.raises(RunFailed, match="RuntimeError: the daemon went away"):
        machine.up(FIVE, machine.backend(pause=pause))
    assert machine.is_clean()


GIB = 1 << 30


def test_cpus_and_memory_bound_what_goes_on_at_once() -> None:
    limit = Limit(cpus=2, available=lambda: 4 * GIB)
    heavy, light = Weight(1.0, 3 * GIB), Weight(0.5, GIB)
    limit.begin(heavy)
    assert not limit.admits(heavy)
    assert limit.admits(light)
    limit.begin(light)
    assert not limit.admits(light), "the memory is promised"
    assert limit.admits(Weight(0.5))
    limit.begin(Weight(0.5))
    assert not limit.admits(Weight(0.5)), "the CPUs are busy"
    limit.end(heavy)
    assert limit.admits(light)


def test_one_is_always_admitted_and_a_number_goes_before_the_cpus_but_not_before_memory() -> None:
    assert Limit(cpus=1, available=lambda: 0).admits(Weight(8.0, GIB))
    limit = Limit(jobs=3, cpus=1, available=lambda: GIB)
    for _ in range(3):
        assert limit.admits(Weight(1.0))
        limit.begin(Weight(1.0))
    assert not limit.admits(Weight(0.0))
    limit.end(Weight(1.0))
    assert not limit.admits(Weight(0.1, 2 * GIB))


def test_the_machine_is_asked_how_large_it_is(tmp_path: Path) -> None:
    assert cpus() == len(os.sched_getaffinity(0))
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  200 kB\nMemAvailable:  100 kB\n")
    assert available_memory(meminfo) == 102400
    assert 0 < available_memory() < 1 << 50
