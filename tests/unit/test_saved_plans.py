"""Saved plans: carried out exactly, or refused with the reason."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_machine import EDITED, LAB, Machine
from labs_in_code import link

from vtopo.cli.main import run
from vtopo.cli.plan_file import is_plan_file, read_plan
from vtopo.compile.resources import Resource
from vtopo.plan.plan import Plan
from vtopo.plan.saved import NotAPlan, SavedPlan, StalePlan, Text, digest, from_text, to_text
from vtopo.run.transaction import survey, up
from vtopo.state.folder import StateDir

TEXTS = (Text("shop.vlab", None, "host a\n"),)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(StateDir(tmp_path / "state"))


def planned(machine: Machine, lab: Sequence[Resource]) -> tuple[Plan, SavedPlan]:
    """The plan for a lab now, and what is read back after it was saved."""
    plan, basis = survey("shop", lab, [machine.backend()], machine.state)
    saved = SavedPlan("shop", basis, {"size": "2"}, TEXTS, {}, ())
    return plan, from_text(to_text(plan, saved))


def carry_out(machine: Machine, lab: Sequence[Resource], saved: SavedPlan) -> Plan:
    backend = machine.backend()
    try:
        return up("shop", lab, "/labs/shop.vlab", [backend], machine.state, saved=saved).plan
    except StalePlan:
        assert not backend.calls, "a stale plan touches nothing"
        raise


@pytest.mark.parametrize("before", [(), LAB, EDITED], ids=["nothing", "the same", "another"])
def test_a_saved_plan_does_what_it_said(machine: Machine, before: Sequence[Resource]) -> None:
    if before:
        machine.up(before)
    plan, saved = planned(machine, LAB)
    assert (saved.settings, saved.texts) == ({"size": "2"}, TEXTS)
    assert carry_out(machine, LAB, saved) == plan
    assert machine.has(LAB)


def drift(machine: Machine) -> None:
    machine.world.resources["a--b/veth"] = link("a", "b", mtu=1400)


def vanish(machine: Machine) -> None:
    machine.world.end("b/host")


def other_up(machine: Machine) -> None:
    machine.up(EDITED)


def there_and_back(machine: Machine) -> None:
    machine.up(EDITED)
    machine.up(LAB)


def down(machine: Machine) -> None:
    machine.down()


@pytest.mark.parametrize(
    ("since", "why"),
    [
        (drift, "no longer as it was; now veth a--b/veth would be updated (drifted: left.mtu 1400 → 1500"),
        (vanish, "now host b/host would be created (gone: recorded but no longer there)"),
        (other_up, "another command has changed lab shop since"),
        (there_and_back, "another command has changed lab shop since"),
        (down, "another command has changed lab shop since"),
    ],
)
def test_a_plan_is_stale_once_the_records_or_the_world_changed(
    machine: Machine, since: Callable[[Machine], None], why: str
) -> None:
    machine.up(LAB)
    _, saved = planned(machine, LAB)
    since(machine)
    with pytest.raises(StalePlan) as stale:
        carry_out(machine, LAB, saved)
    assert why in str(stale.value)


def test_a_plan_is_stale_once_its_work_is_done(machine: Machine) -> None:
    _, saved = planned(machine, LAB)
    carry_out(machine, LAB, saved)
    with pytest.raises(StalePlan, match="another command has changed"):
        carry_out(machine, LAB, saved)


def test_repaired_drift_makes_a_plan_stale_as_well(machine: Machine) -> None:
    machine.up(LAB)
    whole = machine.world.resources["a--b/veth"]
    drift(machine)
    _, saved = planned(machine, LAB)
    machine.world.resources["a--b/veth"] = whole
    with pytest.raises(StalePlan, match="veth a--b/veth needs no update any more"):
        carry_out(machine, LAB, saved)


@pytest.mark.parametrize("before", [(), LAB], ids=["new", "up"])
def test_a_plan_does_not_outlive_a_reboot(
    machine: Machine, before: Sequence[Resource], monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        machine.up(before)
    _, saved = planned(machine, LAB)
    for module in ("vtopo.run.transaction", "vtopo.state.store"):
        monkeypatch.setattr(f"{module}.boot_id", lambda: "another boot")
    machine.world.resources.clear()
    with pytest.raises(StalePlan, match="the machine was started anew"):
        carry_out(machine, LAB, saved)


def test_a_plan_holds_for_the_records_it_was_made_with(machine: Machine, tmp_path: Path) -> None:
    _, saved = planned(machine, LAB)
    other = Machine(StateDir(tmp_path / "elsewhere"))
    with pytest.raises(StalePlan, match=r"made with the records in .*/state, and these are in .*/elsewhere"):
        carry_out(other, LAB, saved)


def test_a_version_that_compiles_otherwise_says_so(machine: Machine) -> None:
    _, saved = planned(machine, LAB)
    with pytest.raises(StalePlan, match="makes something else of the lab"):
        carry_out(machine, EDITED, saved)


# Files that are no plans


def text(machine: Machine) -> str:
    plan, saved = planned(machine, LAB)
    return to_text(plan, saved)


def altered(whole: str, **fields: Any) -> str:
    return json.dumps({**json.loads(whole), **fields})


def test_any_layout_of_the_same_document_will_do(machine: Machine) -> None:
    assert from_text(json.dumps(json.loads(text(machine)), sort_keys=True)).lab == "shop"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda t: t[:200], "no whole JSON document (line"),
        (lambda t: "", "no whole JSON document"),
        (lambda t: "[" * 100_000, "no whole JSON document"),
        (lambda t: "[1, 2]", "it is no plan; `vtopo plan LAB.vlab --out FILE` writes one"),
        (lambda t: '{"name": "left-pad"}', "it is no plan"),
        (lambda t: altered(t, format=2), "it has format 2, and this vtopo reads 1"),
        (lambda t: altered(t, lab="other"), "not as `vtopo plan` wrote it"),
        (lambda t: altered(t, steps=[]), "not as `vtopo plan` wrote it"),
        (lambda t: altered(t, made={}), "not as `vtopo plan` wrote it"),
        (lambda t: json.dumps({"format": 1, "lab": "x", "steps": []}), "does not say what it was made of"),
    ],
)
def test_what_is_no_plan_is_refused_in_a_line(
    machine: Machine, spoil: Callable[[str], str], why: str
) -> None:
    with pytest.raises(NotAPlan) as refused:
        from_text(spoil(text(machine)))
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_forged_checksum_does_not_break_the_reader(machine: Machine) -> None:
    data = json.loads(text(machine))
    del data["checksum"]
    for made in ({}, {**data["made"], "sources": []}, {**data["made"], "settings": 7}, {"sources": 3}):
        forged = {**data, "made": made}
        layout = json.dumps(forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        with pytest.raises(NotAPlan):
            from_text(json.dumps({**forged, "checksum": digest(layout)}))


# The command line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VTOPO_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "part.vlab").write_text("host h\n")
    text = 'lab savedx\nparam n = 1\nuse "part.vlab" as part\nhost a[1..n]\nhost b\nlink a1 -- b\n'
    (tmp_path / "x.vlab").write_text(text)
    return tmp_path


def test_a_plan_file_has_the_lab_and_its_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "x.vlab", "--set", "n=3", "--out", "plan.json"]) == 0
    assert "`vtopo up plan.json` does just that" in capsys.readouterr().out
    assert (folder / "plan.json").stat().st_mode & 0o777 == 0o600
    saved = read_plan("plan.json")
    assert (saved.lab, saved.settings, saved.texts[0].file) == ("savedx", {"n": "3"}, str(folder / "x.vlab"))
    assert run(["plan", "plan.json", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["steps"] == saved.steps
    hosts = [s["id"] for s in shown["steps"] if s["kind"] == "host"]
    assert [t.path for t in saved.texts] == ["x.vlab", "part.vlab"]
    assert hosts == ["part.h/host", "a1/host", "a2/host", "a3/host", "b/host"]


def test_a_lab_that_was_edited_makes_its_plan_stale_and_one_that_is_gone_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "x.vlab", "--set", "n=2", "-q", "--out", "plan.json"]) == 0
    (folder / "x.vlab").rename(folder / "y.vlab")
    assert run(["plan", "-q", "plan.json"]) == 0
    (folder / "part.vlab").write_text("host other\n")
    assert run(["plan", "plan.json"]) == 1
    assert "part.vlab was edited since" in capsys.readouterr().err
    (folder / "x.vlab").write_text("lab savedx\nhost a\n")
    assert run(["plan", "plan.json"]) == 1
    err = capsys.readouterr().err
    assert "plan.json is stale: x.vlab was edited since" in err
    assert "`vtopo plan x.vlab --set n=2 --out plan.json`" in err


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("plan.json", b'{"format": 1', "plan.json: it is no whole JSON document"),
        ("plan.json", b"\xff\xfe", "plan.json: it is not UTF-8 text"),
        ("plan", b' {"a": 1}', "plan: it is no plan"),
        ("absent.json", None, "cannot read absent.json: no such file or directory"),
    ],
)
def test_bad_plan_files_are_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, why: str
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    assert run(["plan", name]) == 2
    assert capsys.readouterr().err.startswith(f"error: {why}")


def test_a_saved_plan_takes_no_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", "x.vlab", "-q", "--out", "plan.json"])
    assert run(["plan", "plan.json", "--set", "n=2"]) == 2
    assert "--set comes too late" in capsys.readouterr().err


def test_labs_are_told_from_plans_by_name_or_first_character(folder: Path) -> None:
    (folder / "plan").write_text("\n{}")
    (folder / "lab").write_text("host a\n")
    (folder / "odd.vlab").write_text("{}")
    assert [is_plan_file(n) for n in ("plan", "lab", "odd.vlab", "x.json", "-", "absent", ".")] == [
        *(True, False, False, True, False, False, False),
    ]
