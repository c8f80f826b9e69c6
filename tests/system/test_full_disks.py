"""However little room there is for records or for hosts: `up` succeeds or changes nothing, and says what is full."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cli import World
from forks import forked, warm
from ground import STATE, Ground, apart
from sweep_labs import LABS, both

from vtopo.state.folder import StateDir


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def disk(path: Path, kilobytes: int) -> StateDir:
    """A state directory on a disk of its own, of which that much is free."""
    path.mkdir(mode=0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=700", "none", str(path))
    return StateDir(path)


def records_of_any_room() -> list[str]:
    """How `up` ended with ever more room for the records."""
    first = apart()
    lab, _ = both(LABS["links"], first.lab)
    said = []
    for number, room in enumerate((4, 12, 20, 28, 44, 60, 76, 100, 140, 200, 400)):
        ground = Ground(first.lab, disk(STATE / f"small{number}", room))
        before = ground.left()
        ran = ground.up(lab)
        assert ran is not None
        if ran.failure is None:
            said.append("")
            ground.must_down()
        else:
            said.append(ran.failure.text)
            assert ran.failure.undone, ran.failure
        ground.is_as(before)
    return said


def edits_of_any_room() -> list[str]:
    """How an edit and then a `down` ended where the disk filled up after `up`."""
    said = []
    first = apart()
    for number, spare in enumerate(range(0, 60, 12)):
        path = STATE / f"filling{number}"
        ground = Ground(first.lab, disk(path, 4096))
        lab, edited = both(LABS["links"], ground.lab)
        before = ground.left()
        ground.learn(lab, edited)
        ground.must_up(lab)
        room = os.statvfs(path)
        (path / "filler").write_bytes(bytes(max(room.f_bavail * room.f_bsize - spare * 1024, 0)))
        ran = ground.up(edited)
        assert ran is not None
        assert ground.shape() == (ground.edited_shape if ran.failure is None else ground.lab_shape)
        said.append(ran.failure.text if ran.failure else "")
        down = ground.down()
        assert down is not None
        assert down.failure or not ground.names(), "either it fails, or all is gone"
        (path / "filler").unlink()
        ground.must_down()
        ground.is_as(before)
    return said


def hosts_without_room() -> str:
    """What an edit says that needs hosts for which the lab's tmpfs has no room; the lab goes on."""
    ground = apart()
    lab, edited = both(LABS["links"], ground.lab)
    before = ground.left()
    ground.must_up(lab)
    shape = ground.shape()
    scratch = f"/run/vtopo/{ground.lab}"
    room = os.statvfs(scratch)
    run("mount", "-o", f"remount,size={(room.f_blocks - room.f_bfree) * room.f_bsize}", "none", scratch)
    ran = ground.up(edited)
    assert ran is not None
    assert ran.failure is not None
    assert ran.failure.undone
    assert ground.shape() == shape
    ground.must_down()
    ground.is_as(before)
    return ran.failure.text


def test_whatever_room_there_is_for_records_up_succeeds_or_changes_nothing(world: World) -> None:
    warm()
    said = forked(records_of_any_room, world, 120).value or []
    assert said[0], "nothing fits there"
    assert not said[-1], "all fits there"
    assert all("full" in text or "No space left" in text for text in said if text), said


def test_a_disk_that_fills_up_stops_an_edit_and_nothing_of_it_is_done(world: World) -> None:
    warm()
    said = forked(edits_of_any_room, world, 120).value or []
    assert said[0], "nothing fits there"
    assert all("full" in text or "No space left" in text for text in said if text), said


def test_a_lab_without_room_for_a_host_goes_on_as_it_was(world: World) -> None:
    warm()
    assert "No space left on device" in (forked(hosts_without_room, world).value or "")
