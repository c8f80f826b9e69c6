"""Every form of `expect`, on a real lab: what holds passes, what does not fails, and each says what it saw."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli import Vtopo

LAB = """
lab {name}
host a { route 10.0.2.0/24 via 10.0.1.2; route 10.0.3.0/24 via 10.0.1.2 }
host r1 { forward on; route 10.0.3.0/24 via 10.0.2.2 }
host r2 { forward on; route 10.0.1.0/24 via 10.0.2.1 }
host b { route 10.0.1.0/24 via 10.0.3.1; route 10.0.2.0/24 via 10.0.3.1 }
link a 10.0.1.1/24 2001:db8::1/64 -- r1 10.0.1.2/24 2001:db8::2/64
link r1 10.0.2.1/24 -- r2 10.0.2.2/24
link r2 10.0.3.1/24 -- b 10.0.3.2/24
"""


class Tried:
    """A running lab, and `vtopo test` of expectations on it."""

    def __init__(self, vtopo: Vtopo) -> None:
        self._vtopo = vtopo
        self.lab = LAB.replace("{name}", vtopo.lab)
        self.path = vtopo.folder / "tried.vlab"
        self.path.write_text(self.lab)
        vtopo("up", self.path)

    def __call__(self, *expectations: str, status: int = 0) -> list[tuple[bool, str]]:
        """Whether each passed, and what was seen."""
        self.path.write_text(self.lab + "\n".join(expectations) + "\n")
        done = self._vtopo("test", "--json", self.path, status=status)
        return [(e["passed"], e["seen"]) for e in json.loads(done.out)["expectations"]]


@pytest.fixture
def tried(vtopo: Vtopo) -> Tried:
    return Tried(vtopo)


@pytest.fixture
def server(tried: Tried, vtopo: Vtopo) -> Iterator[None]:
    """Something in `b` that takes connections on port 80."""
    code = "import socket,time; s=socket.create_server(('', 80)); print('up', flush=True); time.sleep(60)"
    name = vtopo.node("b").name
    process = subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline() == b"up\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_holds_passes(tried: Tried, server: None) -> None:
    seen = tried(
        "expect a reaches b",
        "expect a reaches b on tcp 80",
        "expect not a reaches b on tcp 81 within 1s",
        'expect a runs "ip route" prints "10.0.3.0/24 via 10.0.1.2"',
        'expect a runs ["true"]',
        'expect not a runs "false" within 1s',
        "expect delay a -> b <= 100ms",
        "expect loss a -> b <= 1%",
        "expect rate a -> b >= 1Mbit",
        "expect path a -> b through r1, r2",
        "expect path a -> b through r2",
        "expect not path a -> b through r2, r1 within 1s",
        "expect a reaches r1.eth0.address6",
    )
    assert [passed for passed, _ in seen] == [True] * 13
    assert seen[1][1].startswith("10.0.3.2 port 80: ")
    assert seen[2][1] == "10.0.3.2 port 81: connection refused"
    assert seen[9][1] == "by r1, r2, b"


def test_what_does_not_hold_fails_and_says_what_was_seen(tried: Tried, server: None) -> None:
    seen = tried(
        "expect a reaches b on tcp 81 within 1s",
        'expect a runs "echo no; exit 3" within 1s',
        'expect a runs "echo something else" prints "wanted" within 1s',
        'expect a runs "/nowhere" within 1s',
        "expect delay a -> b <= 0ms within 2s",
        "expect loss a -> 10.0.3.99 <= 50% within 1s",
        "expect rate a -> b >= 1000Gbit within 1s",
        "expect path a -> b through r2, r1 within 1s",
        "expect path a -> 10.9.9.9 through r1 within 1s",
        "expect not a reaches b on tcp 80 within 1s",
        status=1,
    )
    assert [passed for passed, _ in seen] == [False] * 10
    assert seen[0][1] == "10.0.3.2 port 81: connection refused"
    assert seen[1][1] == "exit status 3: no"
    assert seen[2][1] == "something else"
    assert "exit status 127" in seen[3][1]
    assert seen[5][1] == "100%"
    assert seen[8][1] == "10.9.9.9: network is unreachable"


def test_an_expectation_is_tried_until_it_holds(tried: Tried, vtopo: Vtopo) -> None:
    code = "import socket,time; time.sleep(1); s=socket.create_server(('', 82)); time.sleep(20)"
    late = subprocess.Popen(["ip", "netns", "exec", vtopo.node("b").name, "python3", "-c", code])
    try:
        assert [passed for passed, _ in tried("expect a reaches b on tcp 82 within 10s")] == [True]
    finally:
        late.kill()
        late.wait()


def test_trials_run_side_by_side(tried: Tried) -> None:
    begun = time.monotonic()
    tried(*(f"expect not a reaches b on tcp {port} within 2s" for port in range(100, 112)))
    assert time.monotonic() - begun < 20  # one after the other they take 24 s


SCENARIOS = """
scenario "the line fails" {
  expect r1 reaches r2
  do link r1 r2 down
  expect not a reaches b within 1s
  expect a reaches r1
  do link r1 r2 up
  expect a reaches b within 10s
}
scenario "r2 dies" {
  do node r2 kill
  expect not a reaches b within 1s
  do node r2 pause
  expect a reaches b
}
"""


def test_scenarios_are_played_in_order_and_undone(tried: Tried, vtopo: Vtopo, tmp_path: Path) -> None:
    tried.path.write_text(tried.lab + "expect a reaches b\n" + SCENARIOS)
    done = vtopo("test", tried.path, "--json", "--junit", tmp_path / "report.xml", status=1).json
    assert [e["passed"] for e in done["expectations"]] == [True]
    fails, dies = done["scenarios"]
    assert (fails["scenario"], fails["passed"]) == ("the line fails", True)
    assert [s.get("do") or s["expect"] for s in fails["steps"]] == [
        "r1 reaches r2",
        "link r1 r2 down",
        "not a reaches b",
        "a reaches r1",
        "link r1 r2 up",
        "a reaches b",
    ]
    # A fault that does not take effect fails, and ends its scenario.
    assert [(s.get("do"), s["passed"]) for s in dies["steps"]] == [
        ("node r2 kill", True),
        (None, True),
        ("node r2 pause", False),
    ]
    assert done["failed"] == 1
    assert json.loads(vtopo("status", vtopo.lab, "--json").out)["drift"] == []
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("7", "1")
    tried("expect a reaches b")


def test_the_verdicts_as_junit(tried: Tried, vtopo: Vtopo, tmp_path: Path) -> None:
    tried.path.write_text(
        tried.lab + 'expect a reaches b\nexpect a runs "printf \\"<&\\"; exit 1" within 1s\n'
    )
    report = tmp_path / "report.xml"
    vtopo("test", tried.path, "--junit", report, status=1)
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (vtopo.lab, "2", "1")
    first, second = suite
    assert (first.get("name"), first.find("failure")) == ("a reaches b", None)
    failure = second.find("failure")
    assert failure is not None
    assert failure.get("message") == "exit status 1: <&"
    assert second.get("line") == str(tried.lab.count("\n") + 2)


def test_a_report_that_cannot_be_written_is_said_first(tried: Tried, vtopo: Vtopo, tmp_path: Path) -> None:
    tried.path.write_text(tried.lab + "expect a reaches b\n")
    done = vtopo("test", tried.path, "--junit", tmp_path / "none" / "report.xml", status=2)
    assert "there is no folder" in done.err
    assert not done.out
