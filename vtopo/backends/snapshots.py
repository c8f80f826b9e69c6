"""The snapshots of a lab's VMs as files: a folder each, with a manifest that is there only once all else is.

They are kept beside the labs' disk folders, in `.snapshots/LAB/NAME`, and outlive the lab: a user named them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from vtopo.backends import diskfolder, folders
from vtopo.backends.base import BackendError
from vtopo.backends.diskfolder import SNAPSHOTS
from vtopo.values import dataclass

_MANIFEST = "snapshot.json"
_DRAFT = ".draft"
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Base:
    """An image that a VM's disk stands over, as it was: the layer above makes no sense over another."""

    path: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: str) -> Base:
        """As it is now; OSError if it is gone."""
        status = os.stat(path)  # noqa: PTH116
        return cls(path, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class SavedVm:
    """A VM in a snapshot: whether it ran, its domain's spec, and the files of its disks."""

    node: str
    running: bool
    spec: str
    files: tuple[str, ...]
    bases: tuple[Base, ...]

    @property
    def memory(self) -> str:
        """The file with the guest's memory and the state of its devices."""
        return f"{self.node}.memory"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot; `taken` is in seconds since the epoch, `size` the bytes that it takes on the disk."""

    name: str
    taken: int
    vms: tuple[SavedVm, ...]
    folder: Path

    @property
    def size(self) -> int:
        """What its files take, which have holes."""
        return sum(entry.stat().st_blocks * 512 for entry in self.folder.iterdir())


class Snapshots:
    """Those of one lab."""

    def __init__(self, lab: str, base: Path | None = None) -> None:
        self.lab = lab
        self._folder = (base or diskfolder.default_path()) / SNAPSHOTS / lab

    def all(self) -> list[Snapshot]:
        """All that are whole, the oldest first."""
        return sorted(self._whole(), key=lambda each: (each.taken, each.name))

    def _whole(self) -> Iterator[Snapshot]:
        for name in self._names():
            with contextlib.suppress(FileNotFoundError):
                yield self._read(name)

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._folder) if _NAME.fullmatch(name)]  # noqa: PTH208
        except OSError:
            return []

    def find(self, name: str) -> Snapshot:
        """The one of this name; BackendError with those that there are."""
        if _NAME.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):
                return self._read(name)
        known = ", ".join(each.name for each in self.all())
        has = f"it has {known}" if known else "it has none"
        raise BackendError(f"{self.lab} has no snapshot `{name}`; {has}")

    def _read(self, name: str) -> Snapshot:
        folder = self._folder / name
        try:
            text = (folder / _MANIFEST).read_text("utf-8")
            said = json.loads(text)
            if said["format"] != _FORMAT:
                raise ValueError(f"it is of format {said['format']}, which this version does not know")
            vms = tuple(
                SavedVm(
                    **{
                        **vm,
                        "files": tuple(vm["files"]),
                        "bases": tuple(Base(**base) for base in vm["bases"]),
                    }
                )
                for vm in said["vms"]
            )
            return Snapshot(name, int(said["taken"]), vms, folder)
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, OSError) as e:
            raise BackendError(
                f"the snapshot {folder} cannot be read ({e}); `vtopo snapshot --delete {name}` removes it"
            ) from e

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[Callable[[tuple[SavedVm, ...]], Snapshot]]:
        """A folder to fill, in `place`; what is yielded makes a snapshot of it, else nothing is left.

        BackendError if there is one of that name, or the name is none.
        """
        if not _NAME.fullmatch(name):
            raise BackendError(
                f"`{name}` cannot name a snapshot: it takes letters, digits, `_`, and after them `.` and `-`"
            )
        if (self._folder / name).exists():
            raise BackendError(
                f"{self.lab} has a snapshot `{name}` already; `vtopo snapshot --delete {name}` removes it"
            )
        place = self.place
        os.close(folders.make(self._folder))
        try:
            shutil.rmtree(place, ignore_errors=True)  # of one that was killed
            place.mkdir(mode=0o711)

            def commit(vms: tuple[SavedVm, ...]) -> Snapshot:
                document = {"format": _FORMAT, "taken": int(time.time()), "vms": [asdict(vm) for vm in vms]}
                (place / _MANIFEST).write_text(
                    json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8"
                )
                place.rename(self._folder / name)
                return self._read(name)

            yield commit
        finally:
            shutil.rmtree(place, ignore_errors=True)
            folders.remove(self._folder)

    @property
    def place(self) -> Path:
        """Where a snapshot is while it is made."""
        return self._folder / _DRAFT

    def clear(self) -> None:
        """Remove what one that was killed has left; to be called under the lab's lock."""
        if self.place.exists():
            shutil.rmtree(self.place, ignore_errors=True)
            folders.remove(self._folder)

    def delete(self, name: str) -> None:
        """Remove one; BackendError if there is none."""
        if not _NAME.fullmatch(name) or not (self._folder / name).exists():
            self.find(name)
        try:
            # The manifest first: what is left of one that is removed is none.
            (self._folder / name / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self._folder / name)
        except OSError as e:
            raise BackendError(f"the snapshot {self._folder / name} cannot be removed: {e.strerror}") from e
        folders.remove(self._folder)


def labs(base: Path | None = None) -> list[str]:
    """The labs that have snapshots."""
    folder = (base or diskfolder.default_path()) / SNAPSHOTS
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []
    return [name for name in names if Snapshots(name, base).all()]


def copy(source: Path, target: Path) -> None:
    """Copy a file with its holes, owner and permissions; where the file system can, its blocks are shared."""
    with source.open("rb") as read, target.open("wb") as write:
        status = os.fstat(read.fileno())
        os.fchmod(write.fileno(), status.st_mode & 0o7777)
        os.fchown(write.fileno(), status.st_uid, status.st_gid)
        os.ftruncate(write.fileno(), status.st_size)
        at = 0
        while at < status.st_size:
            try:
                at = os.lseek(read.fileno(), at, os.SEEK_DATA)
            except OSError as e:
                if e.errno == errno.ENXIO:  # a hole up to the end
                    break
                raise
            end = os.lseek(read.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += _copy_range(read.fileno(), write.fileno(), at, min(end - at, _CHUNK))


def _copy_range(source: int, target: int, at: int, count: int) -> int:
    try:
        done = os.copy_file_range(source, target, count, at, at)
    except OSError as e:
        if e.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        done = os.pwrite(target, os.pread(source, count, at), at)
    if done == 0:
        raise OSError(errno.EIO, "a file became shorter while it was copied")
    return done
