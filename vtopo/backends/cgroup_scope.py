"""A part of systemd's cgroup tree that is ours: a transient scope with Delegate=yes for each lab.

Where systemd runs, it alone arranges the v2 tree, and hands out parts of it on request (systemd's
CGROUP_DELEGATION.md). A scope lives as long as any process is in it: while we work on one, a `cat` that ends
with us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import time

from vtopo.backends.cgroup_tree import SLICE, write

_PATIENCE = 10.0  # seconds for systemd to answer


class Scope:
    """The scope of `lab`, whose group is `folder`; it lasts at least until `close`, and then while hosts are in it."""

    def __init__(self, lab: str, folder: str) -> None:
        self.lab = lab
        self.folder = folder
        self._holder: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Have it, with no process in its topmost group; OSError if systemd does not give it."""
        if self._holder is None or self._holder.poll() is not None:
            if os.path.isdir(self.folder):  # noqa: PTH112
                self._hold(["cat"])
                return
            self._hold(
                [
                    "systemd-run",
                    "--scope",
                    "--quiet",
                    "--collect",
                    f"--unit=vtopo-{self.lab}",
                    f"--slice={SLICE}",
                    f"--description=vtopo lab {self.lab}",
                    "--property=Delegate=yes",
                    "--",
                    "cat",
                ]
            )

    def keep(self) -> None:
        """Let it last, if it is there."""
        if os.path.isdir(self.folder):  # noqa: PTH112
            self.make()

    def _hold(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        try:
            holder = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
            )
        except FileNotFoundError as e:
            raise OSError(errno.ENOENT, f"{command[0]} is not installed") from e
        self._holder = holder
        try:
            self._wait_for(holder)
            # Only a group without processes hands controllers on (cgroup-v2.rst, No Internal Process Constraint).
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.folder}/holder")  # noqa: PTH102
            write(f"{self.folder}/holder/cgroup.procs", str(holder.pid))
        except BaseException:
            self.close()
            raise

    def _wait_for(self, holder: subprocess.Popen[bytes]) -> None:
        """systemd-run becomes `cat` once it is in the scope: what is written to it then comes back."""
        assert holder.stdin and holder.stdout and holder.stderr
        with contextlib.suppress(BrokenPipeError):
            holder.stdin.write(b"\n")
        ready, _, _ = select.select([holder.stdout], [], [], _PATIENCE)
        if not ready:
            raise OSError(errno.ETIMEDOUT, f"systemd-run made no scope within {_PATIENCE:.0f} s")
        if not holder.stdout.read(1):
            words = holder.stderr.read().decode(errors="replace").strip()
            raise OSError(errno.EPERM, f"systemd-run made no scope: {words}")

    def close(self) -> None:
        """Let go of it; if nothing runs in it, systemd then removes it, which is waited for."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        for pipe in (holder.stdin, holder.stdout, holder.stderr):
            if pipe:
                pipe.close()
        try:
            holder.wait(2)
        except subprocess.TimeoutExpired:
            holder.kill()
            holder.wait()

    def end(self) -> None:
        """Let go of it when no host is left in it, and wait until systemd has removed it."""
        self.close()
        end = time.monotonic() + _PATIENCE
        while os.path.isdir(self.folder) and time.monotonic() < end:  # noqa: PTH112
            time.sleep(0.01)
