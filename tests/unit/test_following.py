"""What can be seen of a run: JSON lines, calls behind steps, traces, and the files that are written."""

import json
import os
import stat
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from fake_machine import LAB, Machine, failing
from labs_in_code import host, ring

from vtopo.backends.base import Call, Outcome, Watch
from vtopo.cli.console import Console
from vtopo.cli.errors import Failure
from vtopo.cli.following import followed, traced
from vtopo.cli.outfile import write_outfile
from vtopo.cli.stream import Stream
from vtopo.cli.trace import Trace
from vtopo.compile.resources import Resource
from vtopo.run.events import Called, RunFailed
from vtopo.run.transaction import up
from vtopo.state.folder import StateDir

PEOPLE = Console(color=False, quiet=False, verbose=False, json=False)
VERBOSE = Console(color=False, quiet=False, verbose=True, json=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(StateDir(tmp_path / "state"))


def follow(machine: Machine, lab: Any, backend: Any = None, **who: Any) -> None:
    """Bring a lab up with somebody following."""
    with followed(who.pop("console", PEOPLE), who.pop("trace", None), **who) as follower:
        backends = [backend(follower.watch) if callable(backend) else backend or machine.backend()]
        state = machine.state
        up("shop", lab, "/l.vlab", backends, state, on_event=follower.on_event, watch=follower.watch)


def streamed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_step_begins_and_ends_on_a_line_of_its_own(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(machine, ring(40), stream=Stream("shop", time.monotonic()))
    run, *steps = streamed(capsys)
    assert (run["event"], run["lab"], run["steps"], run["counts"]["create"]) == ("run", "shop", 161, 161)
    ids = sorted(r.id for r in ring(40))
    assert sorted(s["id"] for s in steps if s["event"] == "start") == ids
    assert sorted(s["id"] for s in steps if s["event"] == "done") == ids
    times = [s["time"] for s in steps]
    assert times == sorted(times)
    assert all(s["seconds"] >= 0 for s in steps if s["event"] == "done")


def test_a_failure_is_an_event_with_reason_and_place_and_so_is_the_undo(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunFailed):
        follow(machine, LAB, machine.backend(fault=failing("create", "b/host")), stream=Stream("shop", 0))
    events = streamed(capsys)
    (failed,) = (e for e in events if e["event"] == "failed")
    del failed["time"]
    assert failed == {
        "event": "failed",
        "id": "b/host",
        "kind": "host",
        "action": "create",
        "undo": False,
        "reason": "No buffer space available",
        "errno": 105,
        "place": "a.vlab:3:1",
    }
    kinds = [e["event"] for e in events]
    assert all(e["undo"] for e in events[kinds.index("undo") + 1 : -1])
    summary = events[-1]
    assert (summary["event"], summary["ok"], summary["undone"], summary["failures"]) == (
        *("summary", False, True, 1),
    )


def test_a_reader_that_goes_away_does_not_end_the_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        follow(machine, LAB, stream=Stream("shop", 0))
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    assert machine.has(LAB)


class Talking:
    """Makes a backend that tells a call for each step."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, watch: Watch) -> object:
        def pause(action: str, resource: Resource) -> Outcome | None:
            if watch.calls is not None:
                watch.calls.put(
                    Call(resource.id, f"{action}({resource.kind})", "no" * (resource.kind == "route"))
                )
            return None

        return self._machine.backend(pause=pause)


def test_verbose_shows_the_calls_behind_each_step(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(machine, LAB, Talking(machine), console=VERBOSE)
    out = capsys.readouterr().out
    assert "create host b/host\n    create(host)\ncreate 2 host: " in out
    assert "create route a:0.0.0.0/0/route\n    create(route): no\n" in out
    assert "observe: 0 ms" in out


def test_calls_of_slow_steps_are_told_while_they_go_on(tmp_path: Path) -> None:
    machine = Machine(StateDir(tmp_path / "state"), frozenset({"host"}))
    watch = Watch(calls=SimpleQueue())
    told: list[str] = []

    def pause(_: str, resource: Resource) -> Outcome | None:
        assert watch.calls is not None
        watch.calls.put(Call(resource.id, "begin"))
        end = time.monotonic() + 10
        while resource.kind == "host" and not told and time.monotonic() < end:
            time.sleep(0.01)
        return None

    def on_event(event: object) -> None:
        if isinstance(event, Called):
            told.extend(call.id for call in event.calls if call.id == "a/host")

    backends = [machine.backend(pause=pause)]
    up("shop", (*LAB[:1], host("a")), "/x", backends, machine.state, on_event=on_event, watch=watch)
    assert told == ["a/host"]


def test_without_anybody_watching_no_call_is_put_into_words(machine: Machine) -> None:
    with followed(PEOPLE, None) as follower:
        assert follower.watch.calls is None


def test_a_trace_has_phases_batches_and_steps_within_each_other(tmp_path: Path) -> None:
    machine = Machine(StateDir(tmp_path / "state"), frozenset({"host"}))
    file = tmp_path / "trace.json"
    with traced(file, "vtopo up x") as trace:
        follow(machine, LAB, trace=trace)
    document = json.loads(file.read_text())
    spans = [e for e in document["traceEvents"] if e["ph"] == "X"]
    by_name = {e["name"]: e for e in spans}
    assert {"lock", "load", "observe", "plan", "record", "create veth", "vtopo up x"} <= by_name.keys()
    whole = by_name["vtopo up x"]
    for each in spans:
        assert each["ts"] >= 0 and each["ts"] + each["dur"] <= whole["dur"] + 1
    rows = {by_name[f"create {name}/host"]["tid"] for name in "ab"}
    assert by_name["create veth"]["tid"] not in rows
    names = {e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert {"phases", "steps in turn", "beside 1"} <= names
    steps = by_name["create veth"]["args"]["steps"]
    assert sorted(steps) == ["a--b/veth", "a--lan/veth"]


def test_a_trace_of_a_failed_run_shows_the_failure_and_the_undo(tmp_path: Path, machine: Machine) -> None:
    trace = Trace()
    with pytest.raises(RunFailed):
        follow(machine, LAB, machine.backend(fault=failing("create", "a--b/veth")), trace=trace)
    events = json.loads(trace.text("vtopo up x"))["traceEvents"]
    assert [e["args"]["id"] for e in events if e["ph"] == "i"] == ["a--b/veth"]
    assert "undo" in {e["name"] for e in events}


def test_a_file_is_replaced_whole_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    write_outfile(path, "new", 0o600)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("link", "symbolic link"), ("folder", "not a file"), ("pipe", "not a file"), ("no/such", "no folder")],
)
def test_what_is_not_a_plain_file_is_not_written_over(tmp_path: Path, name: str, why: str) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Failure, match=why) as failed:
        write_outfile(tmp_path / name, "new", 0o644)
    assert failed.value.status == 2
    assert target.read_text() == "precious"
    assert (tmp_path / "link").is_symlink()
