"""Network namespaces that a zygote has ready for hosts before it knows which: a third of all that a host takes."""

# Plain functions of os, no pathlib: every module loaded here delays the first host.

from __future__ import annotations

import _thread
import os

from vtopo.backends.zygote_calls import CLONE_NEWNET, AtOnce, SetupError, libc, new_proc, step
from vtopo.backends.zygote_inside import ready_net

_OWN_FILES = 64  # that this process has open besides, at most


class SpareNets:
    """They are made by a thread while the lab is still being read; `nets` has a descriptor of each.

    Nothing else holds them, so with this process they are gone. Whoever reads the lab has the CPU first: to be nice is
    a thread's own affair (setpriority(2)), and ends with it; without privileges nobody could take it back.
    """

    def __init__(self) -> None:
        self.nets: list[int] = []
        self._making = _thread.allocate_lock()  # held while more are made
        self._enough = False

    def lay_in(self, count: int) -> None:
        """Have so many made, but for what the limit on open files forbids."""
        self._enough = False
        self._making.acquire()
        try:
            _thread.start_new_thread(self._make, (min(count, os.sysconf("SC_OPEN_MAX") - _OWN_FILES),))
        except RuntimeError:  # no more threads
            self._making.release()

    def _make(self, count: int) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, 19)
            while len(self.nets) < count and not self._enough:
                proc = new_proc()
                try:
                    for _ in range(_OF_ONE_PROC):
                        if len(self.nets) < count and not self._enough:
                            self.nets.append(_new_net(_By(proc)))
                finally:
                    os.close(proc)
        except (SetupError, OSError):
            pass  # what cannot be had now is tried, and told of, when a host needs it
        finally:
            self._making.release()

    def stop(self) -> None:
        """Have no more made; the thread is over then."""
        self._enough = True
        with self._making:
            pass

    def enter(self) -> None:
        """Move into one of them."""
        fd = self.nets.pop()
        try:
            step("setns", libc.setns(fd, CLONE_NEWNET))
        finally:
            os.close(fd)


_OF_ONE_PROC = 64
"""So many namespaces are set up by one /proc. Of each it remembers where its settings are, all under one name: to look
for those of the thousandth, the kernel passes by all others' (proc_sys_compare)."""


class _By(AtOnce):
    """Settings by a /proc that is mounted nowhere, open as a folder."""

    def __init__(self, proc: int) -> None:
        self._proc = proc

    def exists(self, path: str) -> bool:
        """Whether there is something at a path below /proc."""
        try:
            os.stat(path.removeprefix("/proc/"), dir_fd=self._proc)
        except FileNotFoundError:
            return False
        return True

    def set(self, path: str, value: str) -> None:
        """Write a setting below /proc."""
        fd = os.open(path.removeprefix("/proc/"), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._proc)
        os.write(fd, value.encode())
        os.close(fd)


def _new_net(do: AtOnce) -> int:
    """Move into a new network namespace that has all that a host's has; a descriptor of it."""
    step("unshare of the network namespace", libc.unshare(CLONE_NEWNET))
    ready_net(do)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
