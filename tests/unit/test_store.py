"""Records: what a lab's database keeps, and what it refuses."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from labs_in_code import pair, ring

from vtopo.backends.base import Handle
from vtopo.compile.resources import Bridge, Container, Volume, to_json
from vtopo.state import store as store_module
from vtopo.state.folder import StateDamaged, StateDir, StateError, default_path
from vtopo.state.spec import from_text, to_text
from vtopo.state.store import Store, labs

LAB = pair()
HANDLE = Handle(pid=7, start=11, inode=13)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def opened(state: StateDir) -> Store:
    store = Store.open(state, "shop", "/labs/shop.vlab")
    store.begin("/labs/shop.vlab")
    return store


def test_a_spec_is_read_back_as_it_was_written() -> None:
    for resource in LAB:
        assert from_text(resource.kind, to_text(resource)) == resource


def test_the_text_of_a_spec_says_what_its_json_says() -> None:
    odd = 'a "quoted"\\ \n \x01 \u2028 é 🐧 %s {}'
    for resource in (
        *LAB,
        Bridge(id="b/bridge", netns="lab/netns", name=odd, mac="", mtu=1),
        Bridge(id="b/bridge", needs=(odd, ""), netns="n", name="", mac="", mtu=-1, stp=True, trunk=odd),
        Bridge(id="b/bridge", netns="n", name="", mac="", mtu=0, ageing=0, aware=True),
    ):
        text = to_text(resource)
        assert text == json.dumps(to_json(resource), separators=(",", ":"), ensure_ascii=False)
        assert from_text(resource.kind, text) == resource


def test_what_was_made_is_found_again_with_its_handle(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
        store.settle(made=[(r.id, HANDLE if r.kind == "host" else Handle()) for r in LAB])
    with Store.open(state, "shop") as store:
        records = store.load()
        assert store.handle_of("a/host") == HANDLE
        assert store.handle_of("scratch") is None
        assert store.handle_of("nobody") is None
    assert records.resources == {r.id: r for r in LAB}
    assert records.handles == {"a/host": HANDLE, "b/host": HANDLE}
    assert not records.unfinished


def test_a_record_equal_to_what_is_desired_is_that_very_object(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
        again = pair(mtu=9000)
        records = store.load(again)
    same = {r.id for r in again if records.resources[r.id] is r}
    assert same == {r.id for r in LAB} - {"a--b/veth"}
    assert records.resources["a--b/veth"] == LAB[5]


def test_what_was_begun_and_not_ended_is_unfinished(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
        store.settle(made=[("scratch", Handle()), ("fabric", Handle())])
        store.leaving(["fabric"])
        assert store.load().unfinished == {r.id for r in LAB} - {"scratch"}


def test_gone_and_changed(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
        store.settle(made=[(r.id, Handle()) for r in LAB])
        wider = pair(mtu=9000)[5]
        store.changed([wider])
        store.settle(gone=[r.id for r in LAB if r is not LAB[5]])
        assert store.load().resources == {wider.id: wider}
        assert not store.is_empty()


def test_every_writer_changes_the_stamp_and_nobody_else(state: StateDir) -> None:
    with Store.open(state, "shop", "/labs/shop.vlab") as store:
        assert store.stamp() == store_module.NOTHING
    seen = [store_module.NOTHING]
    with opened(state) as store:
        for write in (
            lambda: store.begin("/labs/shop.vlab"),
            lambda: store.intend(LAB),
            lambda: store.settle(made=[(r.id, Handle()) for r in LAB]),
            lambda: store.changed(LAB[:1]),
            lambda: store.leaving([LAB[0].id]),
            lambda: store.settle(gone=[LAB[0].id]),
        ):
            write()
            assert store.stamp() not in seen
            seen.append(store.stamp())
        store.remember("something")
        store.load()
        assert store.stamp() == seen[-1]
    with Store.open(state, "shop") as store:
        assert store.stamp() == seen[-1]


@pytest.mark.parametrize(
    "write", ["UPDATE resource SET run = run + 1", "DELETE FROM resource WHERE id = 'scratch'"]
)
def test_a_version_that_writes_no_stamps_changes_it_too(state: StateDir, write: str) -> None:
    with opened(state) as store:
        store.intend(LAB)
        before = store.stamp()
    with sqlite3.connect(state.folder("shop") / "state.db") as older:
        older.execute(write)
    older.close()
    with Store.open(state, "shop") as store:
        assert store.stamp() != before


def test_an_earlier_boot_left_nothing(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(state) as store:
        store.intend(LAB)
    monkeypatch.setattr(store_module, "boot_id", lambda: "another")
    with Store.open(state, "shop") as store:
        assert not store.load().resources
        assert not labs(state)[0].this_boot
        store.begin("/labs/shop.vlab")
        store.intend(LAB[:1])
        assert set(store.load().resources) == {"scratch"}


def test_containers_and_volumes_outlive_a_boot_but_not_their_processes(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = Container(id="web", node="web", name="w", netns="w", hostname="w", image="i")
    volume = Volume(id="data", name="d")
    with opened(state) as store:
        store.intend([*LAB, volume, container])
        store.settle(made=[(r.id, HANDLE) for r in (*LAB, volume, container)])
    monkeypatch.setattr(store_module, "boot_id", lambda: "another")
    with Store.open(state, "shop") as store:
        for begin in (False, True):
            if begin:
                store.begin("/labs/shop.vlab")
            records = store.load()
            assert records.resources == {"web": container, "data": volume}
            assert not records.handles
            assert not records.unfinished


def test_what_changed_may_have_another_handle(state: StateDir) -> None:
    again = Handle(pid=8, start=12, inode=14)
    with opened(state) as store:
        store.intend(LAB)
        store.settle(made=[(r.id, HANDLE) for r in LAB if r.kind == "host"])
        store.changed([r for r in LAB if r.kind == "host"], {"a/host": again})
        assert store.load().handles == {"a/host": again, "b/host": HANDLE}


def test_a_killed_process_leaves_what_it_had_announced(state: StateDir) -> None:
    code = (
        "import os, sys; from pathlib import Path; from labs_in_code import pair;"
        "from vtopo.state.folder import StateDir; from vtopo.state.store import Store;"
        f"store = Store.open(StateDir(Path({str(state.path)!r})), 'shop', '/labs/shop.vlab');"
        "store.intend(pair()); os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join(str(p) for p in sys.path)
    process = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    assert process.returncode == -signal.SIGKILL
    with Store.open(state, "shop") as store:
        assert store.load().unfinished == {r.id for r in LAB}


def test_a_lab_without_records_is_not_found(state: StateDir) -> None:
    with pytest.raises(FileNotFoundError):
        Store.open(state, "shop")
    assert labs(state) == ()
    assert not state.path.exists()


def test_labs_are_listed_with_where_they_came_from(state: StateDir) -> None:
    opened(state).close()
    (known,) = labs(state)
    assert known.meta is not None
    assert (known.lab, known.meta.source, known.this_boot) == ("shop", "/labs/shop.vlab", True)
    state.remove("shop")
    assert labs(state) == ()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look at" * 50, b"short"])
def test_a_damaged_database_is_refused_with_a_way_out(state: StateDir, content: bytes) -> None:
    opened(state).close()
    (state.folder("shop") / "state.db").write_bytes(content)
    with pytest.raises(StateDamaged, match=r"vtopo down --orphans"):
        Store.open(state, "shop")
    (known,) = labs(state)
    assert known.problem is not None and "damaged" in known.problem


def test_a_torn_page_is_noticed(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
    path = state.folder("shop") / "state.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(StateDamaged), Store.open(state, "shop") as store:
        store.load()


def test_a_foreign_database_is_left_alone(state: StateDir) -> None:
    opened(state).close()
    path = state.folder("shop") / "state.db"
    path.unlink()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE precious (x)")
    foreign.commit()
    foreign.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StateDamaged, match="not a vtopo database"):
        Store.open(state, "shop", "/labs/shop.vlab")
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(state: StateDir) -> None:
    opened(state).close()
    newer = sqlite3.connect(state.folder("shop") / "state.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StateError, match=r"newer vtopo \(format 99, this one reads 1\)"):
        Store.open(state, "shop")


def test_a_record_of_an_unknown_kind_is_refused(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB)
        store._db.execute("UPDATE resource SET kind = 'teapot' WHERE id = 'scratch'")
        with pytest.raises(StateDamaged, match="record of scratch cannot be read: unknown kind"):
            store.load()


def test_a_full_disk_is_said_and_changes_nothing(state: StateDir) -> None:
    with opened(state) as store:
        store.intend(LAB[:1])
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StateError, match="the disk is full"):
            store.intend(ring(300))
        assert set(store.load().resources) == {"scratch"}


def test_only_the_owner_can_look(state: StateDir) -> None:
    old = os.umask(0)
    try:
        opened(state).close()
    finally:
        os.umask(old)
    folder = state.folder("shop")
    for path, mode in ((state.path, 0o700), (folder, 0o700), (folder / "state.db", 0o600)):
        assert path.stat().st_mode & 0o777 == mode


def test_a_directory_that_others_can_write_is_refused(state: StateDir) -> None:
    state.path.mkdir(mode=0o700)
    state.path.chmod(0o770)
    with pytest.raises(StateError, match=r"others can write to .*; take that right away: chmod go-w"):
        opened(state)


@pytest.mark.parametrize("where", ["", "labs", "labs/shop", "labs/shop/state.db"])
def test_no_symbolic_link_is_followed(state: StateDir, tmp_path: Path, where: str) -> None:
    opened(state).close()
    moved = tmp_path / "elsewhere"
    (state.path / where).rename(moved)
    (state.path / where).symlink_to(moved)
    with pytest.raises(StateError, match="remove"):
        opened(state)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "a\nb"])
def test_a_lab_cannot_be_named_out_of_its_folder(state: StateDir, name: str) -> None:
    with pytest.raises(StateError, match="cannot be the name of a lab"):
        Store.open(state, name, "/x")


def test_where_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VTOPO_STATE_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path() == Path("/var/lib/vtopo")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/u/.state")
    assert default_path() == Path("/home/u/.state/vtopo")
    monkeypatch.setenv("VTOPO_STATE_DIR", "/elsewhere")
    assert default_path() == Path("/elsewhere")
