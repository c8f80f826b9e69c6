"""Plays a scenario on a running lab: its faults and expectations in their order, and then all is as `up` made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vtopo.backends.base import Backend, BackendError
from vtopo.model.lab import Expectation, Fault, Lab, Scenario
from vtopo.run import faults, node_faults
from vtopo.run.events import RunFailed
from vtopo.run.transaction import restore
from vtopo.state.folder import StateDir
from vtopo.state.store import Records, Store
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.backends.guest_access import Access


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a step: the expectation or fault, whether it holds or took effect, and what was seen."""

    step: Expectation | Fault
    passed: bool
    seen: str


def play(
    lab: Lab,
    scenario: Scenario,
    backends: Sequence[Backend],
    state: StateDir,
    guests: Callable[[Records], Access],
) -> Iterator[Played]:
    """Each step as it is over; `guests` tells the ways into the running lab's VMs.

    A fault that does not take effect ends the scenario. However it ends, the lab is as the last `up` made it then;
    RunFailed if that fails.
    """
    try:
        together: list[Expectation] = []
        for step in scenario.steps:
            if isinstance(step, Expectation):
                together.append(step)
                continue
            yield from _expect(lab, together, state, guests)
            together = []
            played = _fault(lab, step, backends, state)
            yield played
            if not played.passed:
                return
        yield from _expect(lab, together, state, guests)
    finally:
        restore(lab.name, backends, state)


def _fault(lab: Lab, fault: Fault, backends: Sequence[Backend], state: StateDir) -> Played:
    try:
        if len(fault.nodes) == 1:
            node_faults.act(lab.name, fault.nodes[0], fault.action, lambda: backends, state)
        else:
            with Store.open(state, lab.name) as store:
                found = faults.links_between(store.load(), *fault.nodes)
            change = faults.down if fault.action == "down" else faults.up
            faults.change_links(lab.name, backends, state, {veth.id: change for veth, _ in found})
    except RunFailed as e:
        return Played(fault, False, str(e.failures[0]) if e.failures else "failed")
    except (BackendError, faults.NoSuchLink) as e:
        return Played(fault, False, str(e))
    return Played(fault, True, "done")


def _expect(
    lab: Lab, together: Sequence[Expectation], state: StateDir, guests: Callable[[Records], Access]
) -> Iterator[Played]:
    """Those between two faults are tried at the same time, and told in their order."""
    from vtopo.backends.trials.run import try_all

    with Store.open(state, lab.name) as store:
        records = store.load()
    tried = try_all(lab, together, records.handles, guests(records))
    verdicts = {v.number: v for v in tried}
    for number, expectation in enumerate(together):
        yield Played(expectation, verdicts[number].passed, verdicts[number].seen)
