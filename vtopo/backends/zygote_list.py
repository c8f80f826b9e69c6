"""The set-up of a host as a list of system calls, for a small program to make (trampoline.py)."""

# Plain functions of os, no pathlib: every module loaded here delays the first host.

from __future__ import annotations

import _socket
import os

from vtopo.backends.trampoline import (
    AGAIN,
    ALWAYS,
    FAILURE,
    FAILURE_SIZE,
    FORK,
    LIST,
    MUST,
    PID,
    PID_SIZE,
    Calls,
    failed,
    sheet,
)
from vtopo.backends.zygote_calls import (
    AT_FDCWD,
    AT_RECURSIVE,
    LOOPBACK_UP,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PR_SET_DUMPABLE,
    PR_SET_NAME,
    PR_SET_PDEATHSIG,
    SIOCSIFFLAGS,
    TERMINALS,
    TTY,
    SetupError,
    mounting,
    refused,
    signal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NULL, WIRE, DOORS = 1, 3, 4
"""Descriptors that the program is started with: /dev/null; a socket to the zygote; then `Zygote.doors`, in pairs."""
ANSWER = bytes(4)
"""What a host's init says once it has begun, as init.py's do."""
_NAME_SIZE = 64  # of a host's name at most, sethostname(2)


class Listed:
    """The calls of a host's set-up, each put into a list as it is asked for; one serves all hosts that differ by name.

    What there is below /proc, and whether there is a group tty, must be known by then.
    """

    def __init__(self, machine: str, exists: Callable[[str], bool], has_tty: bool, doors: int) -> None:
        self.exists = exists
        self._heres = range(DOORS, DOORS + 2 * doors, 2)
        self._doors = range(DOORS + 1, DOORS + 2 * doors, 2)
        self._free = DOORS + 2 * doors  # the number that what is opened gets
        self._has_tty = has_tty
        self._calls = Calls(machine)
        self._steps: list[tuple[str, str]] = []  # what a call does, in words, and what to do if it may not
        self._name = self._calls.at(bytes(_NAME_SIZE))
        self._named = -1  # the call that sets the name
        self._whole = bytearray()

    def _call(self, what: str, name: str, *arguments: int, mode: int = MUST, advice: str = "") -> int:
        self._steps.append((what, advice))
        return self._calls.call(name, *arguments, mode=mode)

    def close(self) -> None:
        """That is all; what has failed is told to the zygote."""
        self._calls.if_failed("write", WIRE, FAILURE, FAILURE_SIZE)
        self._whole[:] = self._calls.list(1)

    def sheet(self, name: str) -> int:
        """The list for a host of that name, in a file for the program to read."""
        raw = os.fsencode(name)
        at = self._name - LIST
        self._whole[at : at + _NAME_SIZE] = raw.ljust(_NAME_SIZE, b"\0")
        if self._named >= 0:
            at = self._calls.argument(self._named, 1)
            self._whole[at : at + 8] = len(raw).to_bytes(8, "little")
        return sheet(self._whole)

    def failure(self, told: bytes) -> SetupError:
        """What it has told, in words."""
        at, number = failed(told)
        return refused(number, *self._steps[at])

    def mount(
        self,
        source: str | None,
        target: str,
        fstype: str | None,
        flags: int = 0,
        data: str = "",
        advice: str = "",
    ) -> None:
        """mount(2)."""
        at = self._calls.text
        raw = [0 if text is None else at(text) for text in (source, target, fstype)]
        what = mounting(source, target, fstype)
        self._call(what, "mount", *raw, flags, at(data) if data else 0, advice=advice)

    def mount_terminals(self, path: str) -> None:
        """Pseudoterminals of the host's own."""
        options = f"{TERMINALS},gid={TTY}" if self._has_tty else TERMINALS
        self.mount("devpts", path, "devpts", MS_NOSUID | MS_NOEXEC, options)

    def set(self, path: str, value: str) -> None:
        """Write a setting below /proc."""
        self._call(path, "open", self._calls.text(path), os.O_WRONLY | os.O_CLOEXEC)
        self._call(path, "write", self._free, self._calls.at(value.encode()), len(value))
        self._call(path, "close", self._free)

    def loopback_up(self) -> None:
        """Bring `lo` up."""
        what = "bringing up lo"
        self._call(what, "socket", _socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        self._call(what, "ioctl", self._free, SIOCSIFFLAGS, self._calls.at(LOOPBACK_UP))
        self._call(what, "close", self._free)

    def name_host(self, _name: str) -> None:
        """sethostname(2), with what is in its place by then."""
        self._named = self._call("sethostname", "sethostname", self._name, 0)

    # What hosts with a user namespace need besides

    def die_with_parent(self) -> None:
        """PR_SET_PDEATHSIG(2const)."""
        self._call("prctl", "prctl", PR_SET_PDEATHSIG, signal.SIGKILL)

    def unshare(self, what: str, flags: int) -> None:
        """unshare(2)."""
        self._call(what, "unshare", flags)

    def ask(self, question: bytes) -> None:
        """Say this to the zygote, and wait for its answer; if it has ended, the next that needs ids fails."""
        what = "asking for its ids"
        self._call(what, "write", WIRE, self._calls.at(question), len(question))
        self._call(what, "read", WIRE, self._calls.at(bytes(8)), 8)

    def become_root(self) -> None:
        """Be the root of the user namespace; one above may not let go of groups (user_namespaces(7), setgroups)."""
        self._call("setgroups", "setgroups", 0, 0, mode=ALWAYS)
        self._call("setresgid", "setresgid", 0, 0, 0)
        self._call("setresuid", "setresuid", 0, 0, 0)

    def copy_here(self) -> None:
        """A copy of all that is mounted in the working folder, on top of it, as the working folder."""
        here, flags = self._calls.text("."), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
        self._call("open_tree of .", "open_tree", AT_FDCWD, here, flags)
        nothing = self._calls.text("")
        self._call(
            "move_mount to .", "move_mount", self._free, nothing, AT_FDCWD, here, MOVE_MOUNT_F_EMPTY_PATH
        )
        self._call("fchdir", "fchdir", self._free)
        self._call("close", "close", self._free)

    def pivot_here(self) -> None:
        """Have the working folder as root; what was it stays on top of it there."""
        here = self._calls.text(".")
        self._call("pivot_root", "pivot_root", here, here)

    def fork(self) -> None:
        """Go on in a child; this process tells the zygote its pid, and ends."""
        self._call("fork", "clone", signal.SIGCHLD, mode=FORK)
        self._calls.in_parent("write", WIRE, PID, PID_SIZE)
        self._calls.in_parent("exit_group", 0)

    def enter_groups(self) -> None:
        """Be in the host's control groups: the doors are their cgroup.procs, open."""
        own = self._calls.at(b"0")
        for fd in self._doors:
            self._call("entering its control group", "write", fd, own, 1)

    def leave_groups(self) -> None:
        """Be where the zygote is again."""
        own = self._calls.at(b"0")
        for fd in self._heres:
            self._call("leaving its control group", "write", fd, own, 1)

    def leave_machine(self) -> None:
        """Detach what is in the way in the working folder: the machine's tree."""
        self._call("umount of the machine's tree", "umount2", self._calls.text("."), MNT_DETACH)
        self._call("chdir", "chdir", self._calls.text("/"))

    def become_init(self) -> None:
        """Be the host's first process: tell the zygote so, and wait for ever."""
        what = "start of its init"
        self._call(what, "dup2", NULL, 0)
        self._call(
            what, "prctl", PR_SET_DUMPABLE, 1
        )  # a change of ids took its own root's right to look at it
        self._call(what, "prctl", PR_SET_NAME, self._calls.text("vtopo-init"))
        for fd in range(DOORS, self._free):
            self._call(what, "close", fd)
        self._call(what, "write", WIRE, self._calls.at(ANSWER), len(ANSWER))
        self._call(what, "close", WIRE)
        self._call(what, "pause", mode=AGAIN)
