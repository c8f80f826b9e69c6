"""The early look at a lab that is up: what it tells is what a look under the lock would have told."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from fake_machine import LAB, Machine
from labs_in_code import pair

from vtopo.backends import processes
from vtopo.backends.base import BackendError
from vtopo.cli import ahead, entry
from vtopo.run import looking
from vtopo.run.backends import Backends
from vtopo.run.early import EarlyLook
from vtopo.run.transaction import UpResult, up
from vtopo.state.folder import StateDir
from vtopo.state.lock import LockHeld, locked
from vtopo.state.store import Store


@pytest.fixture(params=["by one process", "by two"])
def machine(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    if request.param == "by two":
        monkeypatch.setattr(looking, "_MANY", 1)
    machine = Machine(StateDir(tmp_path / "state"))
    machine.up(LAB)
    return machine


def look(machine: Machine) -> EarlyLook:
    return EarlyLook(machine.state, "shop", lambda: [machine.backend()])


def up_with(machine: Machine, early: EarlyLook, mtu: int) -> tuple[UpResult, list[str]]:
    """What an `up` with an early look did, and how often it looked itself."""
    looks = []

    class Looking(type(machine.backend())):  # type: ignore[misc]
        def observe(self, *how: object) -> object:
            looks.append("again")
            return super().observe(*how)

    backend = Looking(machine.world)
    return up("shop", pair(mtu=mtu), "/labs/shop.vlab", [backend], machine.state, early=early), looks


def test_it_tells_what_is_gone_and_what_has_drifted(machine: Machine) -> None:
    machine.world.end("a:0.0.0.0/0/route")
    veth = machine.world.resources["a--b/veth"]
    machine.world.resources["a--b/veth"] = replace(veth, left=replace(veth.left, mtu=68))  # type: ignore[attr-defined,call-arg]
    with Store.open(machine.state, "shop") as store:
        records = store.load()
    seen = Backends([machine.backend()]).observe(records)
    assert len(seen) == len(LAB) - 1
    with look(machine) as early:
        assert early.present(records) == seen


def test_whichever_is_gone_is_told(machine: Machine) -> None:
    with Store.open(machine.state, "shop") as store:
        records = store.load()
    first, rest = looking._halves(records)
    assert first.resources | rest.resources == records.resources
    assert not first.resources.keys() & rest.resources.keys()
    assert bool(rest.resources) == (looking._MANY == 1)
    for id_ in records.resources:
        gone = machine.world.resources.pop(id_)
        with look(machine) as early:
            assert early.present(records) == Backends([machine.backend()]).observe(records), id_
        machine.world.resources[id_] = gone


def test_up_goes_by_it_and_looks_no_more(machine: Machine) -> None:
    with look(machine) as early:
        result, looks = up_with(machine, early, mtu=9000)
    assert [step.resource.id for step in result.plan.steps] == ["a--b/veth"]
    assert not looks
    assert machine.has(pair(mtu=9000))


def test_up_looks_itself_where_the_process_was_killed(machine: Machine) -> None:
    with look(machine) as early:
        os.kill(early._pid, signal.SIGKILL)
        result, looks = up_with(machine, early, mtu=9000)
    assert len(result.plan.steps) == 1
    assert looks


def test_up_looks_itself_where_the_early_look_failed(machine: Machine) -> None:
    def broken() -> list[object]:
        raise BackendError("out of reach")

    with EarlyLook(machine.state, "shop", broken) as early:  # type: ignore[arg-type]
        _, looks = up_with(machine, early, mtu=1500)
    assert looks


def test_the_lab_is_locked_until_it_is_closed_and_no_process_stays(machine: Machine) -> None:
    before = children()
    early = look(machine)
    assert children() != before
    with pytest.raises(LockHeld), locked(machine.state, "shop", timeout=0):
        pytest.fail("the lock was free")
    early.close()
    with locked(machine.state, "shop", timeout=0):
        pass
    assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_it_does_not_wait_for_another_command(machine: Machine) -> None:
    with locked(machine.state, "shop"), pytest.raises(LockHeld):
        look(machine)


def stamp(machine: Machine) -> str:
    with Store.open(machine.state, "shop") as store:
        return store.stamp()


def test_it_knows_that_all_is_as_recorded(machine: Machine) -> None:
    recorded = stamp(machine)
    with Store.open(machine.state, "shop") as store:
        records = store.load()
    with look(machine) as early:
        assert early.is_as_recorded(recorded)
        assert not early.is_as_recorded("another")
        assert early.present(records) is not None, "it still tells what it saw"
    machine.world.end("a:0.0.0.0/0/route")
    with look(machine) as early:
        assert not early.is_as_recorded(recorded)


def test_what_is_unfinished_is_never_as_recorded(machine: Machine) -> None:
    with Store.open(machine.state, "shop") as store:
        store.leaving(["a--b/veth"])
    with look(machine) as early:
        assert not early.is_as_recorded(stamp(machine))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_looks_ends_with_the_command_and_the_lab_is_free(machine: Machine, number: int) -> None:
    told, tells = os.pipe()

    def forever() -> list[object]:
        os.write(tells, b"%d" % os.getpid())
        signal.pause()
        return []

    command = os.fork()
    if command == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with EarlyLook(machine.state, "shop", forever):  # type: ignore[arg-type]
                signal.pause()
        finally:
            os._exit(1)
    looks = int(os.read(told, 16))
    with pytest.raises(LockHeld), locked(machine.state, "shop", timeout=0):
        pytest.fail("the lock was free")
    os.kill(command, number)
    os.waitpid(command, 0)
    with locked(machine.state, "shop", timeout=5):
        assert processes.identity(looks) is None or processes.identity(looks)[0] == "Z"  # type: ignore[index]


def test_a_look_that_was_begun_is_at_the_lab_that_is_meant(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTOPO_STATE_DIR", str(machine.state.path))
    monkeypatch.setattr(ahead, "_backends", lambda _: [machine.backend()])
    shop, other, none = tmp_path / "a.vlab", tmp_path / "other.vlab", tmp_path / "none.vlab"
    shop.write_text("lab shop\nhost a\n")
    other.write_text("host a\n")
    before = children()
    for file in (other, none):  # neither has records
        ahead.look_ahead(str(file))
        assert ahead.begun("other") is None
    ahead.look_ahead(str(shop))
    assert children() != before
    assert ahead.begun("other") is None, "the file has another name by now"
    with locked(machine.state, "shop", timeout=0):
        assert children() == before
        ahead.look_ahead(str(shop))
        assert ahead.begun("shop") is None, "somebody else has the lab"
    ahead.look_ahead(str(shop))
    early = ahead.begun("shop")
    assert early is not None
    with early:
        assert early.is_as_recorded(stamp(machine))
    assert ahead.begun("shop") is None
    assert children() == before


@pytest.mark.parametrize(
    "words",
    [
        ["up"],
        ["up", "-"],
        ["up", "--help"],
        ["up", "a.json"],
        ["up", "a.vlab", "--dry-run"],
        ["plan", "a.vlab"],
        ["--dry-run.vlab", "up"],
    ],
)
def test_what_is_not_plain_is_not_begun(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "look_ahead", lambda _: pytest.fail("it was begun"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    entry._begin(words)
    monkeypatch.setattr(ahead, "look_ahead", lambda file: begun.append(file))
    begun: list[str] = []
    entry._begin(["up", "a.vlab"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    entry._begin(["up", "a.vlab"])
    assert begun == ["a.vlab"]
