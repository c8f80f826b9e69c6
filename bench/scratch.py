"""A folder for one run, removed at its end, and never through a mount that somebody left in it."""

import ctypes
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MNT_DETACH = 2


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make the folder; in the end unmount what is still mounted below it, then delete it."""
    folder = Path(tempfile.mkdtemp(prefix="vtopo-bench-"))
    try:
        yield folder
    finally:
        _unmount(folder)
        if _mounts_below(folder):
            print(f"bench: {folder} is still mounted on; left in place", file=sys.stderr)
        else:
            shutil.rmtree(folder)


def _unmount(folder: Path) -> None:
    libc = ctypes.CDLL(None)
    for place in reversed(_mounts_below(folder)):
        libc.umount2(place.encode(), _MNT_DETACH)


def _mounts_below(folder: Path) -> list[str]:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{folder}/")]
