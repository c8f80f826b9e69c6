"""Writes a file that somebody named: whole or not at all, through no symbolic link, over nothing but a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from vtopo.cli.errors import FAILED, USAGE, Failure


def check_outfile(path: Path) -> None:
    """Failure, before any work is done, if `path` cannot be written."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        pass
    except OSError as e:
        raise Failure(f"cannot write {path}: {os.strerror(e.errno or 0)}", USAGE) from e
    else:
        if stat.S_ISLNK(there.st_mode):
            raise Failure(f"cannot write {path}: it is a symbolic link; name the file itself", USAGE)
        if not stat.S_ISREG(there.st_mode):
            raise Failure(f"cannot write {path}: there is something that is not a file", USAGE)
    if not path.parent.is_dir():
        raise Failure(f"cannot write {path}: there is no folder {path.parent}", USAGE)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure(f"cannot write {path}: no right to make files in {path.parent}", USAGE)


def write_outfile(path: Path, text: str, mode: int) -> None:
    """Put `text` where `path` says, in place of a file that is there; nobody ever sees half of it."""
    check_outfile(path)
    draft = path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}")
    try:
        descriptor = _create(draft, mode)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise Failure(f"cannot write {path}: {os.strerror(e.errno or 0)}", FAILED) from e


def open_outfile(path: Path, beginning: bytes, mode: int) -> int:
    """A descriptor of a file that begins so, in place of one that is there, to be written on; nobody sees it empty."""
    check_outfile(path)
    draft = path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}")
    try:
        descriptor = _create(draft, mode)
        try:
            os.write(descriptor, beginning)
            draft.rename(path)
        except BaseException:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise Failure(f"cannot write {path}: {os.strerror(e.errno or 0)}", FAILED) from e
    return descriptor


def _create(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
