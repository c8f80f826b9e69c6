"""An ordinary user's world: namespaces in which they are root, kept by one process, entered by every command.

The keeper is the first process of a pid namespace in a user namespace, with a /run of its own: all that vtopo
makes there, it makes as root does on the machine, and all of it ends with the keeper. There is one for each
state directory; the file `keeper` there tells which process it is, and is the lock: shared by those who work
in that world, exclusive for whoever starts or ends one.
"""

# ruff: noqa: PTH102, PTH110, PTH116, PTH208, PTH211

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from vtopo.backends import id_maps, init, processes
from vtopo.backends.awaited import Held
from vtopo.backends.base import BackendError, Handle
from vtopo.backends.rootless import MARK
from vtopo.backends.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_REC,
    MS_SLAVE,
    change_root,
    die_with_parent,
    mount,
    setns,
    unshare,
)
from vtopo.values import dataclass

WORLD = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID
# Who leaves one of these for a host's can return only to one of the world's own.
_WHERE_THERE_ARE = {"cgroup": CLONE_NEWCGROUP, "time": CLONE_NEWTIME}
_OWN = ("netns", "vtopo")  # of /run, where a world has its own
_PROGRAM = "/run/vtopo-init"


@dataclass(frozen=True, slots=True)
class Keeper:
    """A keeper by its process as the machine knows it, and its token."""

    handle: Handle
    token: str


class Door:
    """The state directory's file `keeper`, open; it closes with `close`, or with this process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def lock(self, how: int) -> None:
        """flock(2)."""
        fcntl.flock(self.fd, how)

    def keeper(self) -> Keeper | None:
        """Who keeps the world now; None if nobody does (any more)."""
        with contextlib.suppress(ValueError):
            pid, start, boot, token = os.pread(self.fd, 256, 0).decode("ascii", "replace").split()
            keeper = Keeper(Handle(int(pid), int(start)), token)
            if boot == _boot() and processes.is_alive(keeper.handle) and _is_ours(int(pid)):
                return keeper
        return None

    def write(self, keeper: Keeper | None) -> None:
        """Note who keeps the world."""
        os.ftruncate(self.fd, 0)
        if keeper is not None:
            text = f"{keeper.handle.pid} {keeper.handle.start} {_boot()} {keeper.token}\n"
            os.pwrite(self.fd, text.encode(), 0)


def _world() -> int:
    """The flags of a world's namespaces, as far as the kernel has them."""
    more = [flag for kind, flag in _WHERE_THERE_ARE.items() if os.path.exists(f"/proc/self/ns/{kind}")]
    return WORLD | sum(more)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _is_ours(pid: int) -> bool:
    """Whether the process is this user's, and the first of a pid namespace: nobody else's is ever entered or ended."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


def living(door: Door, start: bool) -> Keeper | None:
    """The keeper of the world, with the door's shared lock held; with `start`, one is started where there is none."""
    while True:
        door.lock(fcntl.LOCK_SH)
        keeper = door.keeper()
        if keeper is not None or not start:
            return keeper
        # Nobody works in a world that has ended, so this does not wait for long; it may have been made meanwhile.
        door.lock(fcntl.LOCK_EX)
        if door.keeper() is None:
            door.write(_start())


def enter(keeper: Keeper) -> None:
    """Move this process into the world, as its root (children: in its pid namespace); BackendError if it has ended."""
    folder = os.getcwd()  # noqa: PTH109
    pidfd = processes.open_verified(keeper.handle)
    if pidfd is None:
        raise BackendError(
            "the keeper of your labs has just ended, and your labs with it; run the command again"
        )
    try:
        setns(pidfd, CLONE_NEWUSER | _world())
    finally:
        os.close(pidfd)
    with contextlib.suppress(OSError):  # a folder in /run/netns or the like: the world has its own
        os.chdir(folder)


def run_inside(keeper: Keeper, door: Door, is_over: Callable[[], bool]) -> None:
    """Go on in a child in the world; this process waits for it, ends an empty world, and exits with its status."""
    pidfd = processes.open_verified(keeper.handle)
    enter(keeper)
    held = Held()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))  # the terminal tells the child, too
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        held.release()
        return
    status = os.waitstatus_to_exitcode(held.wait(pid, lambda number: os.kill(pid, number)))
    if pidfd is not None:
        _end_if(pidfd, door, is_over)
    os._exit(status if status >= 0 else 128 - status)


def _end_if(pidfd: int, door: Door, is_over: Callable[[], bool]) -> None:
    """End the world if nothing is in it and nobody else works there."""
    try:
        door.lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # who leaves last does it
    pid = os.fork()
    if pid == 0:
        empty = False
        try:
            empty = is_over()
        finally:
            os._exit(0 if empty else 1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        door.write(None)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _start() -> Keeper:
    """A new keeper; BackendError says what the machine refuses."""
    token = secrets.token_hex(8)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    asked, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ours)
            os.close(told)
            _found(token, theirs, asked)
        finally:
            os._exit(1)
    os.close(theirs)
    os.close(asked)
    with open(ours, encoding="utf-8", errors="replace") as answers:  # noqa: PTH123
        answer = answers.readline().split(" ", 1)
        if answer[0] == "map":
            problem = id_maps.write(pid)
            os.write(told, b"y")
            answer = answers.readline().split(" ", 1) if not problem else ["failed", problem]
    os.close(told)
    os.waitpid(pid, 0)
    if answer[0] == "up" and (seen := processes.identity(int(answer[1]))) is not None:
        return Keeper(Handle(int(answer[1]), seen[1]), token)
    raise BackendError(id_maps.why(answer[1].strip() if len(answer) > 1 else "it was killed"))


def _found(token: str, pipe: int, asked: int) -> NoReturn:
    """In a process of its own: make the namespaces, and in them the keeper; tell its pid, or what went wrong."""
    try:
        os.setsid()
        unshare(CLONE_NEWUSER)
        os.write(pipe, b"map \n")
        if os.read(asked, 1) != b"y":
            os._exit(1)
        unshare(_world())
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                _keep(token, theirs)
            except OSError as e:
                os.write(theirs, struct.pack("=i", -(e.errno or errno.EIO)) + os.fsencode(e.filename or ""))
            finally:
                os._exit(1)
        os.close(theirs)
        answer = os.read(ours, 4096)
        number = -struct.unpack_from("=i", answer)[0] if len(answer) >= 4 else errno.ECHILD
        if number:
            what = os.fsdecode(answer[4:]) or "/proc"
            os.write(pipe, f"failed {what}: {os.strerror(number)}\n".encode())
            os.kill(pid, signal.SIGKILL)
        else:
            os.write(pipe, f"up {pid}\n".encode())
        os._exit(0)
    except OSError as e:
        os.write(pipe, f"failed {e.filename or 'unshare'}: {e.strerror}\n".encode())
        os._exit(1)


def _keep(token: str, pipe: int) -> NoReturn:
    """Be the keeper: a small program that mounts /proc, tells so, and reaps."""
    os.setsid()
    os.umask(0o022)
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    mount("", "/", flags=MS_REC | MS_SLAVE)  # what is unmounted on the machine is not kept here
    _own_root()
    MARK.write_text(token)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.dup2(pipe, 3)
    os.set_inheritable(3, True)
    os.closerange(4, 1 << 20)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    program = init.program(os.uname().machine)
    if program is not None:
        Path(_PROGRAM).write_bytes(program)
        Path(_PROGRAM).chmod(0o755)
        os.execve(_PROGRAM, ["vtopo-keeper"], {})  # noqa: S606
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    os.write(3, bytes(4))
    os.closerange(3, 4)
    while True:
        signal.pause()


def _own_root() -> None:
    """A root of our own with all that is in the machine's, but for what vtopo keeps in /run.

    Covering that would not do: mountinfo tells of what is covered, too, and there the marks of root's labs are.
    """
    old = os.open("/run", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount("vtopo", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir("/run/run")
    for source, target in (("", "/run"), (f"/proc/self/fd/{old}", "/run/run")):
        for name in os.listdir(source or "/"):
            if name == "run" if not source else name in _OWN or name.startswith("vtopo-"):
                continue
            with contextlib.suppress(OSError):  # what an ordinary user cannot see there, they do without
                _show(f"{source}/{name}", f"{target}/{name}")
    os.close(old)
    os.chdir("/run")
    change_root()


def _show(source: str, target: str) -> None:
    mode = os.lstat(source).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)  # noqa: PTH115
        return
    if stat.S_ISDIR(mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    mount(source, target, flags=MS_BIND | MS_REC)
