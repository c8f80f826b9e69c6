"""What is mounted where, as /proc/PID/mountinfo tells it."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


# No dataclass: what makes those takes longer to load than all else that a small command needs.
class Mount(namedtuple("Mount", ("path", "fstype", "source", "root", "options"), defaults=("/", ""))):
    """One line of mountinfo (proc_pid_mountinfo(5)); `options` are the mount's and the file system's."""

    __slots__ = ()
    path: str
    fstype: str
    source: str
    root: str
    options: str


def mounts(pid: int | str = "self", having: str = "") -> Iterator[Mount]:
    """The mounts that a process sees, in the order of mounting; none if the process is gone.

    Of a thousand lines, each a network namespace's name, only those `having` a text are worth being looked at.
    """
    try:
        # The kernel writes a part at a time: who has found what there is to find need not wait for the rest.
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:  # noqa: PTH123
            yield from _parsed(f, having)
    except OSError:
        return


def _parsed(lines: Iterable[str], having: str) -> Iterator[Mount]:
    for line in lines:
        if having not in line:
            continue
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.rstrip("\n").split(" ")
        if len(fields) > 5 and len(tail) > 1:
            options = f"{fields[5]},{tail[2]}" if len(tail) > 2 else fields[5]
            yield Mount(unescape(fields[4]), tail[0], unescape(tail[1]), unescape(fields[3]), options)


def at(path: Path) -> Mount | None:
    """What is mounted on `path` itself, topmost; None if it is no mount point."""
    found = None
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in str(path))
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
