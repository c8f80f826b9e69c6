"""A host's files, seen from outside: no path leads out of its root, whatever links there are in it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from vtopo.backends.base import Handle
from vtopo.backends.processes import is_alive
from vtopo.backends.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from vtopo.values import dataclass

_INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_OPAQUE_ID = 65534  # as the kernel shows ids that have no mapping


@dataclass(frozen=True, slots=True)
class Root:
    """The root of a host that runs; `fd` is a descriptor of it, `pid` the host's init."""

    fd: int
    pid: int

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """openat2(2): the path is resolved as if the host's root were `/`, symbolic links as well."""
        return openat2(self.fd, path.lstrip("/") or ".", flags | os.O_CLOEXEC, mode, _INSIDE)

    @contextlib.contextmanager
    def parent(self, path: str, made: list[str] | None = None) -> Iterator[int]:
        """A descriptor of the folder that `path` is in; with `made`, missing folders are made and listed there."""
        folder = os.path.dirname(path.rstrip("/")) or "/"  # noqa: PTH120
        fd = self._folder(folder, made)
        try:
            yield fd
        finally:
            os.close(fd)

    def _folder(self, path: str, made: list[str] | None) -> int:
        try:
            return self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if made is None or path in ("/", ""):
                raise
        above = self._folder(os.path.dirname(path), made)  # noqa: PTH120
        try:
            self.check_own(above, path)
            name = os.path.basename(path)  # noqa: PTH119
            try:
                os.mkdir(name, 0o755, dir_fd=above)
            except FileExistsError as e:
                raise OSError(errno.ENOENT, "a symbolic link there leads nowhere", path) from e
            made.append(path)
            os.chown(name, self.uid(0), self.gid(0), dir_fd=above, follow_symlinks=False)
        finally:
            os.close(above)
        return self.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def check_own(self, fd: int, path: str) -> None:
        """An OSError unless what `fd` is open on is the host's own: on no mount that shows the machine's files."""
        ident = mount_id(fd)
        for line in _mountinfo(self.pid):
            left, _, right = line.partition(" - ")
            if left.split(" ", 1)[0] == ident:
                fstype, source = right.split(" ")[:2]
                if fstype == "tmpfs" or (fstype == "overlay" and source.startswith("vtopo:")):
                    return
        raise OSError(
            errno.EROFS, "it is in a bind or another mount, whose files are not the host's own", path
        )

    def uid(self, inside: int) -> int:
        """A user id of the host as the machine knows it; OSError if the host's map does not have it."""
        return self._outside("uid_map", inside)

    def gid(self, inside: int) -> int:
        """A group id, the same way."""
        return self._outside("gid_map", inside)

    def _outside(self, table: str, inside: int) -> int:
        if os.stat(f"/proc/{self.pid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino:  # noqa: PTH116
            return inside
        for line in Path(f"/proc/{self.pid}/{table}").read_text().splitlines():
            first, outside, count = map(int, line.split())
            if first <= inside < first + count:
                return outside + inside - first
        raise OSError(errno.EINVAL, f"the host's {table.replace('_', ' ')} has no {inside}")

    def owner(self, text: str) -> tuple[int, int]:
        """The ids, as the machine knows them, of `user` or `user:group`: names of the host, or numbers."""
        user, _, group = text.partition(":")
        passwd = self._entry("etc/passwd", user)
        uid = int(user) if user.isdigit() else passwd[0] if passwd else None
        if uid is None:
            raise OSError(errno.EINVAL, f"the host has no user {user}")
        if not group:
            gid: int | None = passwd[1] if passwd else uid
        else:
            entry = self._entry("etc/group", group)
            gid = int(group) if group.isdigit() else entry[0] if entry else None
        if gid is None:
            raise OSError(errno.EINVAL, f"the host has no group {group}")
        return self.uid(uid), self.gid(gid)

    def _entry(self, table: str, name: str) -> tuple[int, int] | None:
        """The numbers in the third and fourth field of a line of passwd(5) or group(5)."""
        if name in ("root", "0"):
            return 0, 0
        try:
            fd = self.open(table, os.O_RDONLY)
        except OSError:
            return None
        with open(fd, encoding="utf-8", errors="replace") as f:  # noqa: PTH123
            for line in f:
                fields = line.rstrip("\n").split(":")
                if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
                    fourth = fields[3] if len(fields) > 3 else ""
                    return int(fields[2]), int(fourth) if fourth.isdigit() else 0
        return None


@contextlib.contextmanager
def root_of(handle: Handle) -> Iterator[Root]:
    """The root of the host with this init; OSError if it is not running."""
    if handle.pid is None or not is_alive(handle):
        raise OSError(errno.ESRCH, "the host is not running")
    fd = os.open(f"/proc/{handle.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_alive(handle):
            raise OSError(errno.ESRCH, "the host is not running")
        yield Root(fd, handle.pid)
    finally:
        os.close(fd)


def programs(handle: Handle, paths: Iterable[str]) -> Iterator[str]:
    """Those of the paths at which a host has a program, in their order; none if it does not run."""
    with contextlib.suppress(OSError), root_of(handle) as root:
        for path in paths:
            with contextlib.suppress(OSError):
                if path.startswith("/"):
                    fd = root.open(path, os.O_PATH)
                    try:
                        status = os.fstat(fd)
                    finally:
                        os.close(fd)
                    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
                        yield path


def mount_id(fd: int) -> str:
    """The id of the mount that a descriptor is on, as mountinfo has it (proc_pid_fdinfo(5))."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return line.split()[1]
    raise OSError(errno.ENOSYS, "the kernel does not tell which mount a file is on")


def options_of(pid: int, ident: str) -> list[str] | None:
    """The options of a process' mount with this id; None if it has none such."""
    for line in _mountinfo(pid):
        fields = line.split(" ")
        if fields[0] == ident:
            return fields[5].split(",")
    return None


def read_regular(folder: int, name: str, most: int) -> tuple[bytes, os.stat_result] | None:
    """The start of a regular file and its status; None if there is none of that name, or it is something else."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        raise
    with open(fd, "rb") as f:  # noqa: PTH123
        status = os.fstat(fd)
        return (f.read(most), status) if stat.S_ISREG(status.st_mode) else None


def _mountinfo(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/mountinfo").read_text("utf-8", errors="surrogateescape")
    return text.splitlines()
