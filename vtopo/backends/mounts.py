"""What is mounted where, as /proc/PID/mountinfo tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vtopo.values import dataclass

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc_pid_mountinfo(5)); `options` are the mount's and the file system's."""

    path: str
    fstype: str
    source: str
    root: str = "/"
    options: str = ""


def mounts(pid: int | str = "self", having: str = "") -> Iterator[Mount]:
    """The mounts that a process sees, in the order of mounting; none if the process is gone.

    Of a thousand lines, each a network namespace's name, only those `having` a text are worth being looked at.
    """
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:  # noqa: PTH123
            text = f.read()
    except OSError:
        return
    for line in text.splitlines():
        if having not in line:
            continue
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) > 5 and len(tail) > 1:
            options = f"{fields[5]},{tail[2]}" if len(tail) > 2 else fields[5]
            yield Mount(unescape(fields[4]), tail[0], unescape(tail[1]), unescape(fields[3]), options)


def at(path: Path) -> Mount | None:
    """What is mounted on `path` itself, topmost; None if it is no mount point."""
    found = None
    escaped = re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", str(path))
    for mount in mounts(having=f" {escaped} "):
        if mount.path == str(path):
            found = mount
    return found


def unescape(field: str) -> str:
    """A field with its octal escapes resolved."""
    if "\\" in field:
        for code, char in _ESCAPES:
            field = field.replace(code, char)
    return field
