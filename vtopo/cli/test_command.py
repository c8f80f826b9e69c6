"""`vtopo test`: tries a lab's expectations on the running lab."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED, Failure
from vtopo.cli.outfile import check_outfile, write_outfile
from vtopo.cli.own_world import enter_world
from vtopo.cli.sources import load_lab, with_settings
from vtopo.cli.words import plural
from vtopo.cli.world import failures_in_words, state_dir
from vtopo.model.lab import Lab, Measure, Reach, Way

if TYPE_CHECKING:
    from vtopo.backends.trials.run import Verdict


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
@with_console()
def command(console: Console, file: str, report: Path | None, settings: dict[str, str]) -> int:
    """Try the expectations of FILE on the running lab; exit 1 if one does not hold."""
    lab = load_lab(console, file, settings)
    enter_world()
    for scenario in lab.scenarios:
        raise Failure(f"{scenario.range}: this version cannot try a scenario; nothing was tried")
    vms = {vm.name for vm in lab.vms}
    for expectation in lab.expectations:
        if (subject := expectation.claim.subject) in vms:
            raise Failure(
                f"{expectation.range}: nothing can be tried from `{subject}`, a VM: only its own login lets in; "
                "expect it from the other end. Nothing was tried"
            )
    if not lab.expectations:
        raise Failure(f"{file} has no `expect` statement; there is nothing to test")
    if report is not None:
        check_outfile(report)
    begun = time.monotonic()
    with failures_in_words(console, {}):
        verdicts = _print(console, lab, _verdicts(lab))
    if report is not None:
        from vtopo.cli.junit import junit

        write_outfile(report, junit(lab, verdicts, time.monotonic() - begun), 0o644)
    failed = sum(not v.passed for v in verdicts)
    if console.json:
        console.facts(
            {"lab": lab.name, "failed": failed, "expectations": [_as_json(lab, v) for v in verdicts]}
        )
    else:
        console.say(
            f"{plural(len(verdicts), 'expectation')}: {len(verdicts) - failed} passed, {failed} failed"
        )
    return FAILED if failed else DONE


def _verdicts(lab: Lab) -> Iterator[Verdict]:
    """Each expectation's verdict with its number, in the order in which they are known."""
    from vtopo.backends.trials.run import try_all
    from vtopo.state.store import Store

    try:
        with Store.open(state_dir(), lab.name) as store:
            handles = store.load().handles
    except FileNotFoundError as e:
        raise Failure(f"lab `{lab.name}` is not running; `vtopo up` starts it") from e
    yield from try_all(lab, lab.expectations, handles)


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
        word = console.style("pass", "good") if verdict.passed else console.style("FAIL", "bad")
        console.say(f"{word}  {lab.expectations[verdict.number]}  ({verdict.seen})")
    return done


def _as_json(lab: Lab, verdict: Verdict) -> dict[str, object]:
    expectation = lab.expectations[verdict.number]
    claim = expectation.claim
    document: dict[str, object] = {"expect": str(expectation), "subject": claim.subject}
    if isinstance(claim, Reach | Measure | Way):
        document |= {"target": claim.target, "address": str(claim.address)}
    return document | {"passed": verdict.passed, "seen": verdict.seen, "place": str(expectation.range)}
