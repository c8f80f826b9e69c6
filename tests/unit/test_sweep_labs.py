"""Every kind of resource takes part in the sweeps."""

import pytest
from sweep_labs import LABS, SweepLab, both, kinds

from vtopo.backends.base import Present
from vtopo.compile.resources import KINDS
from vtopo.plan.diff import diff
from vtopo.plan.plan import Action

NO_TEXT_MAKES = {"unrealized"}
"""What stands for all that nothing makes."""


def test_every_kind_is_in_a_sweep_lab() -> None:
    swept = frozenset[str]().union(*map(kinds, LABS.values()))
    assert set(KINDS) - swept - NO_TEXT_MAKES == set(), "add what makes them to a lab of tests/sweep_labs.py"


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_an_edit_does_all_that_can_be_done(lab: SweepLab) -> None:
    before, after = both(lab)
    plan = diff(after, {r.id: r for r in before}, {r.id: Present(r) for r in before})
    assert {a for a, count in plan.counts.items() if count} >= {Action.CREATE, Action.UPDATE, Action.DELETE}
