"""What `vtopo test` says of a scenario that ends before its last step."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from vtopo.cli.console import Console
from vtopo.cli.test_command import _play
from vtopo.compile.frontend import check_source
from vtopo.lang.source import Source
from vtopo.model.lab import Lab, Scenario
from vtopo.run import scenarios
from vtopo.run.scenarios import Played

LAB = """\
lab played
host a; host b
link a -- b { subnet 10.0.0.0/30 }
scenario "b dies" { do node b pause; do node a pause; expect a reaches b; expect b reaches a }
"""
PEOPLE = Console(color=False, quiet=False, verbose=False, json=False)


def said(monkeypatch: pytest.MonkeyPatch, reached: int) -> list[str]:
    """What is printed if the step after the first `reached` ones fails; a failing fault ends a scenario."""
    lab = check_source(Source("played.vlab", LAB)).lab
    assert lab is not None

    def play(_lab: Lab, scenario: Scenario, *_: object) -> Iterator[Played]:
        for number, step in enumerate(scenario.steps[: reached + 1]):
            yield Played(step, number < reached, "why")

    monkeypatch.setattr(scenarios, "play", play)
    with CliRunner().isolation() as (out, *_):
        _play(PEOPLE, lab, lab.scenarios[0])
        return out.getvalue().decode().splitlines()


def test_the_steps_after_one_that_ends_it_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, 0) == [
        "scenario b dies",
        "  FAIL  do node b pause  (why)",
        "        3 steps after it not played",
    ]
    assert said(monkeypatch, 2)[-1] == "        1 step after it not played"


def test_of_one_that_was_played_to_its_end_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [line for line in said(monkeypatch, 4) if "not played" in line]
