"""The state directory: private to its owner, no symlink followed, one folder per lab."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from vtopo.values import dataclass

_LAB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SWEEP_HINT = "`vtopo down --orphans` removes what carries vtopo's marks and no lab claims"


class StateError(Exception):
    """The records of a lab cannot be read or written; the text says why and what to do."""


class StateDamaged(StateError):
    """The records of a lab are there, but cannot be made sense of."""


def default_path() -> Path:
    """VTOPO_STATE_DIR; else /var/lib/vtopo for root and $XDG_STATE_HOME/vtopo for others."""
    if chosen := os.environ.get("VTOPO_STATE_DIR"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/vtopo")
    home = os.environ.get("XDG_STATE_HOME", "")
    # XDG Base Directory Specification: a relative path there is invalid and is to be ignored.
    base = Path(home) if home.startswith("/") else Path.home() / ".local/state"
    return base / "vtopo"


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory that holds every lab's folder, `PATH/labs/LAB`."""

    path: Path

    @classmethod
    def default(cls) -> StateDir:
        """The one that the environment and the user's rights ask for."""
        return cls(default_path())

    def folder(self, lab: str) -> Path:
        """Where the lab's records are; StateError if `lab` cannot name a folder."""
        if not _LAB_NAME.fullmatch(lab):
            raise StateError(f"{lab!r} cannot be the name of a lab")
        return self.path / "labs" / lab

    def names(self) -> tuple[str, ...]:
        """The labs that have a folder, sorted."""
        try:
            entries = sorted(entry.name for entry in (self.path / "labs").iterdir())
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise state_error(e, self.path) from e
        return tuple(name for name in entries if _LAB_NAME.fullmatch(name))

    @contextlib.contextmanager
    def opened(self, lab: str, create: bool) -> Iterator[int]:
        """A descriptor of the lab's folder, each folder on the way checked.

        FileNotFoundError if it does not exist and is not to be made; StateError if it cannot be trusted.
        """
        folder = self.folder(lab)
        try:
            descriptor = self._open(folder, create)
        except FileNotFoundError:
            raise
        except OSError as e:
            raise state_error(e, folder) from e
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, folder: Path, create: bool) -> int:
        if create:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, _OPEN_DIRECTORY)
        try:
            _trust(descriptor, self.path)
            for part in ("labs", folder.name):
                descriptor = _step_into(descriptor, part, folder, create)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def open_file(self, name: str, create: bool) -> int:
        """A descriptor of a file of the directory itself, made with mode 0600 if it is to be.

        FileNotFoundError if there is none; StateError if it cannot be trusted.
        """
        path = self.path / name
        try:
            if create:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.path, _OPEN_DIRECTORY)
            try:
                _trust(folder, self.path)
                if create:
                    make_file(folder, name, path)
                descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                _trust(descriptor, path)
                return descriptor
            finally:
                os.close(folder)
        except FileNotFoundError:
            raise
        except OSError as e:
            raise state_error(e, path) from e

    def remove(self, lab: str) -> None:
        """Removes the lab's folder and all in it; the lock, if held, must be the caller's."""
        try:
            with self.opened(lab, create=False) as descriptor:
                # The lock goes last: while it stands, whoever waits for it waits for this removal, too.
                for name in sorted(_names(descriptor), key=lambda name: name == "lock"):
                    os.unlink(name, dir_fd=descriptor)
            # Someone may have begun to make the lab anew in that instant.
            with contextlib.suppress(FileNotFoundError):
                _remove_if_empty(self.folder(lab))
        except FileNotFoundError:
            return
        except OSError as e:
            raise state_error(e, self.folder(lab)) from e

    def discard(self, lab: str) -> None:
        """Removes the lab's folder if there is nothing in it."""
        with contextlib.suppress(OSError):
            _remove_if_empty(self.folder(lab))


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as e:
        if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _step_into(parent: int, name: str, whole: Path, create: bool) -> int:
    """Opens a subfolder and closes its parent; on failure the parent stays open."""
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    child = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    try:
        _trust(child, whole)
    except BaseException:
        os.close(child)
        raise
    os.close(parent)
    return child


def _trust(descriptor: int, path: Path) -> None:
    """Refuses what somebody else owns or can write to: they could have vtopo destroy what they choose."""
    seen = os.fstat(descriptor)
    if seen.st_uid not in (0, os.geteuid()):
        raise StateError(f"{path} belongs to user {seen.st_uid}; vtopo keeps no state there")
    if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateError(f"others can write to {path}; take that right away: chmod go-w {path}")


def make_file(folder: int, name: str, where: Path) -> None:
    """Makes an empty file of mode 0600 in an opened folder, or checks the one that is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StateError(f"{where} is not a regular file")
        _trust(descriptor, where)
    finally:
        os.close(descriptor)


def state_error(error: OSError, path: Path) -> StateError:
    """The same in words that help."""
    text = os.strerror(error.errno) if error.errno else str(error)
    hints = {
        errno.ENOSPC: "free some space and run the command again",
        errno.EDQUOT: "free some space and run the command again",
        errno.EACCES: "run as its owner, or set VTOPO_STATE_DIR to a directory of your own",
        errno.EPERM: "run as its owner, or set VTOPO_STATE_DIR to a directory of your own",
        errno.EROFS: "set VTOPO_STATE_DIR to a directory that can be written",
        errno.ELOOP: "there is a symbolic link where vtopo keeps its state; remove it",
        errno.ENOTDIR: "there is something else where vtopo keeps its state; remove it",
    }
    hint = hints.get(error.errno or 0)
    return StateError(f"{path}: {text}; {hint}" if hint else f"{path}: {text}")
