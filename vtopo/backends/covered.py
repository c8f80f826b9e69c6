"""What a lab's file or bind took the place of in a host, kept so that it can be put back."""

# ruff: noqa: PTH119

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, field
from pathlib import Path

from vtopo.backends.inside import Root
from vtopo.digests import sha256
from vtopo.values import dataclass


@dataclass(slots=True)
class Covered:
    """What stood at a path: nothing, a symbolic link to `target`, or a file whose bytes lie beside this note.

    `made` are the folders above it that had to be made.
    """

    was: str = "nothing"
    mode: int = 0
    uid: int = 0
    gid: int = 0
    target: str = ""
    made: list[str] = field(default_factory=list)


class Notes:
    """The notes of one host, in `folder`, which goes with the host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, path: str) -> Path:
        return self._folder / sha256(path.encode()).hexdigest()[:16]

    def exists(self, path: str) -> bool:
        """Whether there is a note about `path`."""
        return self._path(path).exists()

    def keep(self, path: str, parent: int, made: list[str]) -> None:
        """Note what stands at `path`, in the open folder `parent`, unless it was noted before."""
        note = self._path(path)
        if note.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = os.path.basename(path)
        covered = Covered(made=made)
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            covered.mode, covered.uid, covered.gid = (
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
            )
            if stat.S_ISLNK(status.st_mode):
                covered.was, covered.target = "link", os.readlink(name, dir_fd=parent)
            elif stat.S_ISREG(status.st_mode):
                covered.was = "file"
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                with open(fd, "rb") as source, note.with_suffix(".data").open("wb") as copy:  # noqa: PTH123
                    shutil.copyfileobj(source, copy)
            else:
                raise OSError(21, "there is a folder or a special file in its place", path)
        draft = note.with_suffix(".new")
        draft.write_text(json.dumps(asdict(covered)))
        draft.rename(note)

    def restore(self, root: Root, path: str) -> None:
        """Put back what stood at `path`; without a note nothing was put there."""
        note = self._path(path)
        if not note.exists():
            return
        covered = Covered(**json.loads(note.read_text()))
        with contextlib.suppress(FileNotFoundError), root.parent(path) as parent:
            root.check_own(parent, path)
            self._put_back(covered, note.with_suffix(".data"), parent, os.path.basename(path))
        for folder in reversed(covered.made):
            with contextlib.suppress(OSError), root.parent(folder) as parent:
                os.rmdir(os.path.basename(folder), dir_fd=parent)
        note.with_suffix(".data").unlink(missing_ok=True)
        note.unlink()

    def _put_back(self, covered: Covered, data: Path, parent: int, name: str) -> None:
        if covered.was == "nothing":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
        elif covered.was == "link":
            draft = draft_name(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=parent)
            os.symlink(covered.target, draft, dir_fd=parent)
            os.chown(draft, covered.uid, covered.gid, dir_fd=parent, follow_symlinks=False)
            os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
        else:
            with data.open("rb") as source:
                put(
                    parent,
                    name,
                    iter(lambda: source.read(1 << 20), b""),
                    covered.mode,
                    covered.uid,
                    covered.gid,
                )


def draft_name(name: str) -> str:
    """The name of a file that is still being written."""
    return f".vtopo-{sha256(name.encode()).hexdigest()[:16]}"


def put(parent: int, name: str, pieces: Iterator[bytes], mode: int, uid: int, gid: int) -> None:
    """A file in the open folder `parent`, there as a whole or not at all; what is a link is replaced, not followed."""
    draft = draft_name(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=parent)
    fd = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
    )
    try:
        with open(fd, "wb") as f:  # noqa: PTH123
            for piece in pieces:
                f.write(piece)
            f.flush()
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
        os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=parent)
        raise
