"""A test's verdicts as JUnit XML, the form that CI systems read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vtopo.backends.trials.run import Verdict
from vtopo.model.lab import Expectation, Fault, Lab, Scenario
from vtopo.run.scenarios import Played


def junit(
    lab: Lab, verdicts: Sequence[Verdict], plays: Sequence[tuple[Scenario, Sequence[Played]]], seconds: float
) -> str:
    """A test suite with a case for each expectation, and for each fault that did not take effect.

    `seconds` is how long all took.
    """
    suites = Element("testsuites")
    suite = SubElement(suites, "testsuite", {"name": _plain(lab.name)})
    for verdict in verdicts:
        _case(suite, lab.name, lab.expectations[verdict.number], verdict.passed, verdict.seen)
    for scenario, steps in plays:
        for played in _told(steps):
            _case(suite, f"{lab.name}.{scenario.name}", played.step, played.passed, played.seen)
    failed = len(suite.findall("testcase/failure"))
    numbers = {"tests": str(len(suite)), "failures": str(failed), "errors": "0", "time": f"{seconds:.3f}"}
    for key, value in numbers.items():
        suite.set(key, value)
    indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _told(steps: Sequence[Played]) -> Iterator[Played]:
    return (played for played in steps if isinstance(played.step, Expectation) or not played.passed)


def _case(suite: Element, name: str, step: Expectation | Fault, passed: bool, seen: str) -> None:
    place = {"file": _plain(step.range.path), "line": str(step.range.line)}
    case = SubElement(suite, "testcase", {"classname": _plain(name), "name": _plain(str(step)), **place})
    if not passed:
        failure = SubElement(case, "failure", {"message": _plain(seen)})
        failure.text = _plain(f"expected: {step}\nseen: {seen}")


def _plain(text: str) -> str:
    """A text without the control characters that XML 1.0 has no way to hold."""
    return "".join(c if c in "\t\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
