"""`vtopo test`: tries a lab's expectations on the running lab."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED, Failure
from vtopo.cli.outfile import check_outfile, write_outfile
from vtopo.cli.own_world import enter_world
from vtopo.cli.settings import with_settings
from vtopo.cli.sources import load_lab
from vtopo.cli.words import plural
from vtopo.cli.world import access_of, backends_of, failures_in_words, state_dir
from vtopo.model.lab import Expectation, Lab, Measure, Reach, Scenario, Way

if TYPE_CHECKING:
    from vtopo.backends.trials.run import Verdict
    from vtopo.run.scenarios import Played


@click.command("test", epilog="Example:  vtopo test labs/quickstart.vlab --junit report.xml")
@click.argument("file")
@click.option(
    "--junit",
    "report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the verdicts as JUnit XML.",
)
@with_settings
@with_connect
@with_console()
def command(console: Console, file: str, report: Path | None, settings: dict[str, str]) -> int:
    """Try the expectations of FILE on the running lab; exit 1 if one does not hold."""
    lab = load_lab(console, file, settings)
    enter_world()
    _refuse_untried(lab)
    if not lab.expectations and not lab.scenarios:
        raise Failure(f"{file} has no `expect` statement; there is nothing to test")
    if report is not None:
        check_outfile(report)
    begun = time.monotonic()
    with failures_in_words(console, {}):
        verdicts = _print(console, lab, _verdicts(lab))
        plays = [(scenario, _play(console, lab, scenario)) for scenario in lab.scenarios]
    if report is not None:
        from vtopo.cli.junit import junit

        write_outfile(report, junit(lab, verdicts, plays, time.monotonic() - begun), 0o644)
    passed = [v.passed for v in verdicts]
    passed += [
        p.passed for _, steps in plays for p in steps if isinstance(p.step, Expectation) or not p.passed
    ]
    failed = passed.count(False)
    if console.json:
        document = {"lab": lab.name, "failed": failed, "expectations": [_as_json(lab, v) for v in verdicts]}
        if plays:
            document["scenarios"] = [
                {
                    "scenario": s.name,
                    "passed": all(p.passed for p in steps),
                    "steps": list(map(_step_as_json, steps)),
                }
                for s, steps in plays
            ]
        console.facts(document)
    else:
        console.say(f"{plural(len(passed), 'expectation')}: {len(passed) - failed} passed, {failed} failed")
    return FAILED if failed else DONE


def _refuse_untried(lab: Lab) -> None:
    """Failure if something is expected of a guest that no program of its can tell."""
    vms = {vm.name for vm in lab.vms}
    ends = [end for link in lab.links for end in (link.left, link.right) if end.node in vms]
    theirs = {address.ip for end in ends for address in end.addresses}
    tried = [s for scenario in lab.scenarios for s in scenario.steps if isinstance(s, Expectation)]
    for expectation in (*lab.expectations, *tried):
        claim = expectation.claim
        rate = claim if isinstance(claim, Measure) and claim.quantity == "rate" else None
        if rate is not None and (claim.subject in vms or rate.address in theirs):
            raise Failure(
                f"{expectation.range}: a rate is measured between hosts and containers, and one of these is a VM; "
                "expect it of a host beside it, or `runs` a program of the guest's, such as iperf3. Nothing was tried"
            )
        if isinstance(claim, Way) and claim.subject in vms:
            raise Failure(
                f"{expectation.range}: a path is asked for from hosts and containers, and `{claim.subject}` is a VM; "
                'expect it from the other end, or `runs "traceroute …" prints "…"`. Nothing was tried'
            )


def _verdicts(lab: Lab) -> Iterator[Verdict]:
    """Each expectation's verdict with its number, in the order in which they are known."""
    from vtopo.backends.trials.run import try_all
    from vtopo.state.store import Store

    try:
        with Store.open(state_dir(), lab.name) as store:
            records = store.load()
    except FileNotFoundError as e:
        raise Failure(f"lab `{lab.name}` is not running; `vtopo up` starts it") from e
    yield from try_all(lab, lab.expectations, records.handles, access_of(lab.name, records))


def _in_order(verdicts: Iterator[Verdict]) -> Iterator[Verdict]:
    early: dict[int, Verdict] = {}
    due = 0
    for verdict in verdicts:
        early[verdict.number] = verdict
        while due in early:
            yield early.pop(due)
            due += 1


def _print(console: Console, lab: Lab, verdicts: Iterator[Verdict]) -> list[Verdict]:
    """Print verdicts in the order of the text, each as soon as those before it are known; all of them."""
    done: list[Verdict] = []
    for verdict in _in_order(verdicts):
        done.append(verdict)
        console.say(f"{_word(console, verdict.passed)}  {lab.expectations[verdict.number]}  ({verdict.seen})")
    return done


def _play(console: Console, lab: Lab, scenario: Scenario) -> list[Played]:
    """Play a scenario, printing each step as it is over; all that were reached."""
    from vtopo.run.scenarios import play

    console.say(f"scenario {scenario.name}")
    done: list[Played] = []
    for played in play(lab, scenario, backends_of(lab.name), state_dir(), partial(access_of, lab.name)):
        done.append(played)
        if isinstance(played.step, Expectation):
            console.say(f"  {_word(console, played.passed)}  {played.step}  ({played.seen})")
        elif played.passed:
            console.say(f"  do    {played.step}")
        else:
            console.say(f"  {_word(console, False)}  do {played.step}  ({played.seen})")
    if missing := len(scenario.steps) - len(done):
        console.say(f"        {plural(missing, 'step')} after it not played")
    return done


def _word(console: Console, passed: bool) -> str:
    return console.style("pass", "good") if passed else console.style("FAIL", "bad")


def _step_as_json(played: Played) -> dict[str, object]:
    if isinstance(played.step, Expectation):
        return _told(played.step, played.passed, played.seen)
    seen = {"passed": played.passed, "seen": played.seen, "place": str(played.step.range)}
    return {"do": str(played.step), **seen}


def _as_json(lab: Lab, verdict: Verdict) -> dict[str, object]:
    return _told(lab.expectations[verdict.number], verdict.passed, verdict.seen)


def _told(expectation: Expectation, passed: bool, seen: str) -> dict[str, object]:
    claim = expectation.claim
    document: dict[str, object] = {"expect": str(expectation), "subject": claim.subject}
    if isinstance(claim, Reach | Measure | Way):
        document |= {"target": claim.target, "address": str(claim.address)}
    return document | {"passed": passed, "seen": seen, "place": str(expectation.range)}
