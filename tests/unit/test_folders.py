"""Folders that labs share: whoever works there takes turns, and nobody waits for ever."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from vtopo.backends import folders


def test_a_lock_that_somebody_keeps_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PATIENCE", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(OSError, match="another process has held its lock"), folders.locked(tmp_path):
        pass
    os.close(fd)
    with folders.locked(tmp_path):
        pass


def test_what_a_killed_process_left_of_making_a_folder_goes_with_it(tmp_path: Path) -> None:
    gone, mine = tmp_path / ".vtopo-999999999-lab", tmp_path / f".vtopo-{os.getpid()}-lab"
    for draft in (gone, mine):
        draft.mkdir()
    folders.remove(tmp_path / "lab")
    assert not gone.exists()
    assert mine.exists(), "its maker is still at it"


def test_threads_that_make_one_folder_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """As the disks of several machines do, in the lab's folder."""
    for attempt in range(200):
        start, failed = threading.Barrier(8), []

        def work(folder: Path, start: threading.Barrier = start, failed: list[OSError] = failed) -> None:
            start.wait()
            try:
                os.close(folders.make(folder))
            except OSError as e:
                failed.append(e)

        folder = tmp_path / str(attempt) / "a" / "b"
        makers = [threading.Thread(target=work, args=(folder,)) for _ in range(8)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        assert failed == []
        assert [path.name for path in folder.parent.iterdir()] == ["b"]
