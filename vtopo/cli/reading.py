"""Reads the texts that commands are given: lab files, standard input, what lab files name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vtopo.cli.errors import USAGE, Failure
from vtopo.lang.source import MOST_BYTES, Source, Unreadable

STDIN = "-"
STDIN_SHOWN = "<stdin>"
MOST_FILE = 8 << 20
"""Bytes of a file that a lab puts into a node."""


def read_source(path: str, most: int = MOST_BYTES) -> Source:
    """The text of a lab file, or of standard input for `-`; Failure says why it cannot be read."""
    shown = STDIN_SHOWN if path == STDIN else path
    try:
        return Source(shown, _text(path, most))
    except Unreadable as e:
        raise Failure(f"cannot read {shown}: {e}", USAGE) from e


def read_module(path: str) -> Source:
    """The text of a file that a lab uses; Unreadable says why there is none."""
    if Path(path).exists() and not Path(path).is_file():
        raise Unreadable("it is a folder" if Path(path).is_dir() else "it is no plain file")
    return Source(path, _text(path))


def read_bytes(path: str) -> bytes:
    """The content of a file that a lab puts into a node; Unreadable says why there is none."""
    if Path(path).exists() and not Path(path).is_file():
        raise Unreadable("it is a folder" if Path(path).is_dir() else "it is no plain file")
    data = _bytes(path, MOST_FILE)
    if len(data) > MOST_FILE:
        raise Unreadable(f"it is larger than {MOST_FILE >> 20} MiB; a bind shows it without copying")
    return data


def _bytes(path: str, most: int) -> bytes:
    """Up to one byte more than `most`."""
    try:
        if path == STDIN:
            return sys.stdin.buffer.read(most + 1)
        with Path(path).open("rb") as f:
            return f.read(most + 1)
    except OSError as e:
        raise Unreadable((os.strerror(e.errno or 0)).lower()) from e


def _text(path: str, most: int = MOST_BYTES) -> str:
    data = _bytes(path, most)
    if len(data) > most:
        raise Unreadable(f"it is larger than {most // 1_000_000} MB, and no lab file is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Unreadable(f"line {line} is not UTF-8 text (byte {e.start})") from e
