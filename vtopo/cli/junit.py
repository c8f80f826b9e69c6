"""A test's verdicts as JUnit XML, the form that CI systems read."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vtopo.backends.trials.run import Verdict
from vtopo.model.lab import Lab


def junit(lab: Lab, verdicts: Sequence[Verdict], seconds: float) -> str:
    """A test suite with a case for each expectation; `seconds` is how long all took."""
    failed = sum(not verdict.passed for verdict in verdicts)
    suites = Element("testsuites")
    numbers = {"tests": str(len(verdicts)), "failures": str(failed), "errors": "0", "time": f"{seconds:.3f}"}
    suite = SubElement(suites, "testsuite", {"name": _plain(lab.name), **numbers})
    for verdict in verdicts:
        expectation = lab.expectations[verdict.number]
        place = {"file": _plain(expectation.range.path), "line": str(expectation.range.line)}
        case = SubElement(
            suite, "testcase", {"classname": _plain(lab.name), "name": _plain(str(expectation)), **place}
        )
        if not verdict.passed:
            failure = SubElement(case, "failure", {"message": _plain(verdict.seen)})
            failure.text = _plain(f"expected: {expectation}\nseen: {verdict.seen}")
    indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _plain(text: str) -> str:
    """A text without the control characters that XML 1.0 has no way to hold."""
    return "".join(c if c in "\t\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
