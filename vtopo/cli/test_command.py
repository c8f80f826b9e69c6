"""`vtopo test`: tries a lab's expectations on the running lab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED, Failure
from vtopo.cli.sources import load_lab, with_settings
from vtopo.cli.words import plural
from vtopo.cli.world import failures_in_words, need_root, state_dir
from vtopo.model.lab import Expectation, Lab, Reach


@dataclass(frozen=True, slots=True)
class _Verdict:
    number: int
    expectation: Expectation
    passed: bool
    seen: str


@click.command("test", epilog="Example:  vtopo test labs/quickstart.vlab")
@click.argument("file")
@with_settings
@with_console()
def command(console: Console, file: str, settings: dict[str, str]) -> int:
    """Try the expectations of FILE on the running lab; exit 1 if one does not hold."""
    lab = load_lab(console, file, settings)
    need_root("`vtopo test`")
    if not lab.expectations:
        raise Failure(f"{file} has no `expect` statement; there is nothing to test")
    untried = [(e.range, str(e)) for e in lab.expectations if not _is_echo(e)]
    untried += [(s.range, f"scenario {s.name}") for s in lab.scenarios]
    for place, what in untried:
        raise Failure(f"{place}: this version cannot try `{what}`; nothing was tried")
    with failures_in_words(console, {}):
        verdicts = _print(console, _verdicts(lab))
    failed = sum(not v.passed for v in verdicts)
    if console.json:
        console.facts({"lab": lab.name, "failed": failed, "expectations": [_as_json(v) for v in verdicts]})
    else:
        console.say(
            f"{plural(len(verdicts), 'expectation')}: {len(verdicts) - failed} passed, {failed} failed"
        )
    return FAILED if failed else DONE


def _is_echo(expectation: Expectation) -> bool:
    return isinstance(expectation.claim, Reach) and expectation.claim.tcp is None


def _verdicts(lab: Lab) -> Iterator[_Verdict]:
    """Each expectation's verdict with its number, in the order in which they are known."""
    from vtopo.backends.base import Handle
    from vtopo.backends.echo import Probe, echo
    from vtopo.state.store import Store

    try:
        with Store.open(state_dir(), lab.name) as store:
            handles = store.load().handles
    except FileNotFoundError as e:
        raise Failure(f"lab `{lab.name}` is not running; `vtopo up` starts it") from e
    reaches = [(e, e.claim) for e in lab.expectations if isinstance(e.claim, Reach)]
    probes = [Probe(handles.get(f"{c.subject}/host", Handle()), c.address, e.seconds) for e, c in reaches]
    for answer in echo(probes):
        expectation, claim = reaches[answer.probe]
        answered = answer.rtt is not None
        seen = f"{answer.rtt * 1000:.2f} ms" if answer.rtt is not None else answer.reason
        yield _Verdict(answer.probe, expectation, answered != expectation.negated, f"{claim.address}: {seen}")


def _in_order(verdicts: Iterator[_Verdict]) -> Iterator[_Verdict]:
    early: dict[int, _Verdict] = {}
    due = 0
    for verdict in verdicts:
        early[verdict.number] = verdict
        while due in early:
            yield early.pop(due)
            due += 1


def _print(console: Console, verdicts: Iterator[_Verdict]) -> list[_Verdict]:
    """Print verdicts in the order of the text, each as soon as those before it are known; all of them."""
    done: list[_Verdict] = []
    for verdict in _in_order(verdicts):
        done.append(verdict)
        word = console.style("pass", "good") if verdict.passed else console.style("FAIL", "bad")
        console.say(f"{word}  {verdict.expectation}  ({verdict.seen})")
    return done


def _as_json(verdict: _Verdict) -> dict[str, object]:
    expectation, claim = verdict.expectation, verdict.expectation.claim
    assert isinstance(claim, Reach)
    return {
        "expect": str(expectation),
        "subject": claim.subject,
        "target": claim.target,
        "address": str(claim.address),
        "passed": verdict.passed,
        "seen": verdict.seen,
        "place": str(expectation.range),
    }
