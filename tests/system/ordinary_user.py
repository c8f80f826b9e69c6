"""The command as ordinary users run it: a uid of their own, a home, no rights."""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cli import ROOT, Vtopo


class User(Vtopo):
    """The command as the user `uid`, who has no name, with a home and a state directory of their own."""

    def __init__(self, uid: int, lab: str, wrap: Sequence[str] = ()) -> None:
        """`wrap` are words before the command and its words that start it somewhere special, as root."""
        self.uid = uid
        self.home = Path(tempfile.mkdtemp(prefix="vtopo-user-"))
        needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
        script = "\n".join(["set -e; here=$PWD", *_reach(needed), 'exec "$@"'])
        drop = ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs")
        super().__init__(self.home, lab, ("unshare", "-m", "sh", "-c", script, "sh", *wrap, *drop))
        self.state = self.home / ".local/state/vtopo"
        os.chown(self.home, uid, uid)

    def close(self) -> None:
        """End what is left of this user's labs, which ends with the keeper, and their home."""
        for pid in self.keepers():
            os.kill(pid, 9)
        shutil.rmtree(self.home)

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        own = {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        return {**own, **(more or {})}

    def write(self, text: str, lab: str | None = None) -> Path:
        path = super().write(text, lab)
        os.chown(path, self.uid, self.uid)
        return path

    def processes(self) -> list[int]:
        """This user's processes, but for those that wait to be reaped."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                is_ours = entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == self.uid
                state = (
                    Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0] if is_ours else "X"
                )
            except OSError:
                continue
            if state not in "ZX":
                found.append(int(entry))
        return found

    def keepers(self) -> list[int]:
        """The processes that are the first of a pid namespace just below the machine's."""
        return [pid for pid in self.processes() if self._depth(pid) == (2, "1")]

    def inits(self) -> list[int]:
        """The first processes of hosts: one level below a keeper."""
        return [pid for pid in self.processes() if self._depth(pid) == (3, "1")]

    @staticmethod
    def _depth(pid: int) -> tuple[int, str]:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0, ""
        numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        return len(numbers), numbers[-1]


_FORBID = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
ours, theirs = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert libc.unshare(0x10000000) == 0
    os.write(ours[1], b"x")
    os.read(theirs[0], 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(ours[0], 1)
for kind in ("uid", "gid"):
    open(f"/proc/{child}/{kind}_map", "w").write("0 0 65536")
os.write(theirs[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
FORBIDDEN = (sys.executable, "-c", _FORBID)
"""Starts a command in a user namespace like the machine's own, but in which nobody may make another."""


def _reach(paths: Iterable[Path]) -> Iterator[str]:
    """Commands that let everybody reach what is in folders that are only root's, in this mount namespace."""
    closed: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & 0o001:
                closed.setdefault(folder, []).append(path)
                break
    for folder, inside in closed.items():
        yield "t=$(mktemp -d); mount -t tmpfs -o mode=755 none $t; cd $t"
        for number, path in enumerate(inside):
            yield f"mkdir {number}; mount --bind {shlex.quote(str(path))} {number}"
        yield f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))}"
        for number, path in enumerate(inside):
            where = shlex.quote(str(path))
            yield f"mkdir -p {where}; mount --move {number} {where}"
        yield "cd $here; umount $t; rmdir $t"
