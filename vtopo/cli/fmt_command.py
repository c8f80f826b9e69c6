"""`vtopo fmt`: lab files in the one canonical layout."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
import tempfile
from pathlib import Path

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED, USAGE, Failure
from vtopo.cli.reading import STDIN, read_source
from vtopo.cli.sources import print_diagnostics
from vtopo.cli.words import plural
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import FormatError, canonical
from vtopo.lang.source import Source


@click.command("fmt", epilog="Example:  vtopo fmt --diff labs/*.vlab")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Change nothing; list the files that would change, and exit 1.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
@with_console(json=False)
def command(console: Console, files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Write each FILE in the one canonical layout; - goes from standard input to standard output.

    Comments stay, and so does the meaning: every run compares the syntax trees. A file that does not parse is
    left alone.
    """
    # All are read first: a name that is none stops the run before anything is changed.
    sources = [(path, read_source(path)) for path in files]
    broken = False
    changes = 0
    for path, source in sources:
        text = _canonical(console, source)
        if text is None:
            broken = True
            continue
        written = _as_written(path, source)
        changed = written != text.encode()
        changes += changed
        if diff and changed:
            _print_diff(console, source.path, written.decode(), text)
        if check and changed:
            console.fact(source.path)
        if check or diff:
            continue
        if path == STDIN:
            click.echo(text.encode(), nl=False)
        elif changed:
            _replace(path, text.encode())
            console.say(f"{path}: formatted")
        else:
            console.detail(f"{path}: canonical already")
    if check and changes and not diff:
        console.note(f"{plural(changes, 'file')} would change; `vtopo fmt` without --check does it")
    if broken:
        return USAGE
    return FAILED if check and changes else DONE


def _canonical(console: Console, source: Source) -> str | None:
    diagnostics = Diagnostics()
    try:
        text = canonical(source, diagnostics)
    except FormatError as e:
        raise Failure(f"{e}; it is left as it was. This is a mistake of vtopo: please report it") from e
    print_diagnostics(console, diagnostics, source.path, {source.path: source})
    return text


def _as_written(path: str, source: Source) -> bytes:
    """The bytes that `source` was read from, a byte order mark with them; Failure if they are no longer the same."""
    if path == STDIN:
        return source.text.encode()
    if not Path(path).is_file():
        raise Failure(f"{path} is no regular file; `vtopo fmt -` reads standard input", USAGE)
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise Failure(f"cannot read {path}: {e.strerror}", USAGE) from e
    if data.decode("utf-8-sig", errors="replace") != source.text:
        raise Failure(f"{path} changed while it was read; nothing is written to it")
    return data


def _print_diff(console: Console, path: str, before: str, after: str) -> None:
    roles = {"+": "good", "-": "bad", "@": "frame"}
    old, new = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (before, after))
    for line in difflib.unified_diff(old, new, path, f"{path} (canonical)"):
        console.fact(console.style(line.rstrip("\n"), roles.get(line[0], "dim")))
        if not line.endswith("\n"):
            console.fact("\\ No newline at end of file")


def _replace(path: str, data: bytes) -> None:
    """Put `data` in a file's place at once: the file that a symbolic link leads to, its owner and mode kept."""
    target = Path(path).resolve()
    temporary = ""
    try:
        status = target.stat()
        if not os.access(target, os.W_OK):
            raise PermissionError(0, "it is read-only")
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            made = os.fstat(handle)
            if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(handle, status.st_uid, status.st_gid)
            os.fchmod(handle, stat.S_IMODE(status.st_mode))
            os.fsync(handle)
        Path(temporary).replace(target)
        temporary = ""
    except OSError as e:
        raise Failure(f"cannot write {path}: {e.strerror}") from e
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
