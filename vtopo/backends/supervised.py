"""A process that the supervisor starts in a host: what it is to run, how it gets there, where its output goes."""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as the lab.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from vtopo.backends.cgroup_door import open_door
from vtopo.backends.execute import execute
from vtopo.backends.foreign import CLONE_NEWUSER, be_root, ns_inode
from vtopo.backends.trampoline import ALWAYS, PROGRAM, Calls, failure, failures, renamed, sheet
from vtopo.backends.zygote_calls import read_only_copy

LOG_SIZE = 1 << 20  # bytes, then the log goes on in a new file; one old one is kept
TAIL = 4096  # bytes of output that are kept for the message of a failure
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)  # as processes in hosts are to have it
PR_SET_PDEATHSIG = 1
CLOSE_RANGE_CLOEXEC = 4
KINDS_OF_STARTS = 64  # that are remembered
OURS = 32  # the first number of a descriptor that no start gives to its process
# What Python, the supervisor or who started it ignores or handles: a script's `vtopo up &` ignores SIGINT and SIGQUIT.
SIGNALS = tuple(number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP))
LIBRARYS = (32, 33)  # the C library's own signals, which its posix_spawn leaves ignored (nptl(7))

libc = ctypes.CDLL(None, use_errno=True)
Message = dict[str, Any]


class Log:
    """A file that output goes to; past its size it becomes `….1`, and the one before that is gone.

    Its `path` is below the lab's tmpfs, open as `folder`: once that is unmounted, there is another folder at its place.
    """

    def __init__(self, folder: int, path: str) -> None:
        self.folder = folder
        self.path = path
        self.fd = -1
        self.size = 0
        self.tail = b""

    def write(self, data: bytes) -> None:
        """Append; on a full tmpfs what does not fit is lost, the daemon goes on."""
        self.tail = (self.tail + data)[-TAIL:]
        try:
            if self.fd < 0 or self.size >= LOG_SIZE:
                self.turn()
            self.size += os.write(self.fd, data)
        except OSError:
            self.close()

    def turn(self) -> None:
        """Go on in a new file if this one is full."""
        if self.fd < 0:
            parts = self.path.split("/")
            for depth in range(1, len(parts)):
                try:
                    os.mkdir("/".join(parts[:depth]), dir_fd=self.folder)
                except FileExistsError:
                    continue
        if self.size >= LOG_SIZE:
            self.close()
            os.replace(self.path, f"{self.path}.1", src_dir_fd=self.folder, dst_dir_fd=self.folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(self.path, flags, 0o600, dir_fd=self.folder)
        self.size = os.fstat(self.fd).st_size

    def say(self, text: str) -> None:
        """A line of the supervisor's own, which is none of the process'."""
        before, self.tail = self.tail, b""
        self.write(f"[vtopo] {text}\n".encode())
        self.tail = before

    def close(self) -> None:
        """Until the next line."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Client:
    """A connection: a vtopo that asks for something."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.incoming = b""
        self.outgoing = b""

    def tell(self, message: Message) -> None:
        """Answer, as soon as the other side takes it."""
        self.outgoing += json.dumps(message).encode() + b"\n"


class Job:
    """A daemon (`keep`) or a command, how it is started, and what became of it."""

    def __init__(self, message: Message, client: Client | None, folder: int) -> None:
        self.key: str = message["key"]
        self.host: int = message["pid"]
        self.host_start: int = message["start"]
        self.argv: list[str] = message["argv"]
        self.env: dict[str, str] = message["env"]
        self.cgroups: list[str] = message["cgroups"]
        self.container: str = message.get("container", "")  # Docker's name of its node, if it is a container
        self.engine: str = message.get("engine", "")  # the socket of the engine that has it
        self.keep = message["do"] == "run"
        self.timeout: float = message.get("timeout", 0.0)
        self.log = Log(folder, f"logs/{message['log']}")
        self.client = client  # waits for news of it
        self.pid = 0
        self.started = 0.0
        self.exits = 0
        self.in_a_row = 0
        self.due = 0.0
        self.held = False
        self.last = ""  # how it ended the last time
        self.timed_out = False
        self.output = b""
        self.pipe = -1
        self.begun = -1  # in a container: where a byte comes when it runs
        self.number = 0  # of its last start

    def lives(self) -> bool:
        """Whether its host does."""
        try:
            with open(f"/proc/{self.host}/stat", "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
        except OSError:
            return False
        return fields[0] not in (b"Z", b"X") and int(fields[19]) == self.host_start

    def fails(self, number: int) -> int:
        """Tell in the log that it could not be become, with an errno; the exit status for that."""
        missing = number in (errno.ENOENT, errno.ENOTDIR)
        words = "command not found" if missing and "/" not in self.argv[0] else os.strerror(number)
        self.hear(f"vtopo: {self.argv[0]}: {words}\n".encode())
        return 127 if missing else 126

    def hear(self, data: bytes) -> None:
        """Output of it."""
        self.log.write(data)
        if not self.keep:
            self.output = (self.output + data)[-TAIL:]

    def describe(self) -> Message:
        """How a daemon is."""
        state = "running" if self.pid else "held" if self.held else "waiting"
        now = time.monotonic()
        return {
            "key": self.key,
            "state": "held" if self.held else state,
            "host": self.host,
            "host_start": self.host_start,
            "pid": self.pid,
            "seconds": now - self.started if self.pid else 0.0,
            "wait": max(0.0, self.due - now),
            "exits": self.exits,
            "last": self.last,
        }


class Ground:
    """What all starts have in common: the small program, and open files of the supervisor's, out of the way."""

    def __init__(self, folder: int) -> None:
        """The program is in the lab's tmpfs, open as `folder`; SetupError where there is none."""
        while os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) < OURS:
            continue
        self.path = f"/proc/self/fd/{read_only_copy(f'/proc/self/fd/{folder}/{PROGRAM}')}"
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.failures = failures()
        self.machine = os.uname().machine
        self.starts = 0
        self.lists: dict[object, bytes] = {}  # by what is in them

    def start(self, job: Job, pidfd: int, flags: int, output: int) -> int:
        """Start the job's process in its host; its pid."""
        self.starts += 1
        job.number = self.starts
        opened: list[int] = []
        try:
            for path in job.cgroups:
                opened.append(open_door(path))
            handed = [output, output, self.null, self.failures, pidfd, *opened]
            opened.append(sheet(self.calls(job, flags)))
            return os.posix_spawn(
                self.path,
                job.argv,
                job.env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate((opened[-1], *handed))],
                setsid=True,
                setsigmask=(),
                setsigdef=SIGNALS,
            )
        except ValueError as e:
            raise OSError(errno.EINVAL, str(e)) from e
        finally:
            for fd in opened:
                os.close(fd)

    def calls(self, job: Job, flags: int) -> bytes:
        """What `become` does, as a list; the descriptors are those that `start` hands over."""
        key = flags, len(job.cgroups), job.argv[0], job.env["PATH"]
        if key not in self.lists:
            if len(self.lists) == KINDS_OF_STARTS:
                self.lists.clear()
            self.lists[key] = self.new_list(job, flags)
        return renamed(self.lists[key], job.number)

    def new_list(self, job: Job, flags: int) -> bytes:
        """The same, under no name: thousands of hosts have a daemon of one kind."""
        null, told, pidfd, door = 3, 4, 5, 6
        calls = Calls(self.machine)
        calls.record(told)
        for fd in range(door, door + len(job.cgroups)):
            calls.call("write", fd, calls.at(b"0"), 1)
        if flags:
            calls.call("setns", pidfd, flags)
        if flags & CLONE_NEWUSER:
            calls.call("setgroups", 0, 0, mode=ALWAYS)
            calls.call("setresgid", 0, 0, 0)
            calls.call("setresuid", 0, 0, 0)
        default = calls.at(bytes(32))
        for number in LIBRARYS:
            calls.call("rt_sigaction", number, default, 0, 8)
        calls.call("umask", 0o022)
        calls.call("setrlimit", resource.RLIMIT_NOFILE, calls.at(struct.pack("<qq", *FILES)))
        calls.call("dup2", null, 0)
        calls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
        calls.call("chdir", calls.at(b"/\0"))
        calls.call("close_range", 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
        calls.execute(job.argv[0], job.env["PATH"])
        return calls.list(125)

    def failure(self, job: Job) -> int:
        """The errno with which the last start of a job failed; 0 if it did not."""
        return failure(self.failures, job.number)


def become(job: Job, pidfd: int, flags: int, output: int, begun: int) -> None:
    """Be the job's process, in the child of a fork. It does not return."""
    try:
        signal.set_wakeup_fd(-1)
        if job.container:
            stand_for(job, output, begun)
        for path in job.cgroups:
            os.write(open_door(path), b"0")
        if flags:
            check(libc.setns(pidfd, flags))
        if flags & CLONE_NEWUSER:
            be_root()
        os.setsid()
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_NOFILE, FILES)
        null = os.open("/dev/null", os.O_RDWR)
        for target, fd in enumerate((null, output, output)):
            os.dup2(fd, target)
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))  # it ends with its supervisor
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        execute(job.argv, job.env)
    except OSError as e:
        missing = e.errno in (errno.ENOENT, errno.ENOTDIR)
        words = "command not found" if missing and "/" not in job.argv[0] else e.strerror
        os.write(output, f"vtopo: {job.argv[0]}: {words}\n".encode())
        os._exit(127 if missing else 126)
    finally:
        os._exit(125)


def stand_for(job: Job, output: int, begun: int) -> None:
    """Be the process that stands for one in a container. It does not return."""
    from vtopo.backends.relay import KILL, Relay

    check(libc.prctl(1, int(KILL), 0, 0, 0))  # PR_SET_PDEATHSIG: what it stands for ends with its supervisor
    null = os.open("/dev/null", os.O_RDWR)
    begun = os.dup(begun)  # out of the way of the four that stay
    for target, fd in enumerate((null, output, output, begun)):
        os.dup2(fd, target)
    os.closerange(
        4, 1 << 20
    )  # all that the supervisor has open, connections whose end it is to notice among it
    os._exit(Relay(job.engine, job.container, job.argv, job.env, 3).run())


def marked(job: Job) -> Iterator[int]:
    """The processes in a job's host that are of its making."""
    mark = f"VTOPO_RUN={job.key}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if mark in f.read().split(b"\0") and ns_inode(pid, "net") == ns_inode(job.host, "net"):
                    yield int(pid)
        except OSError:
            continue


def end_marked(job: Job) -> None:
    """End what a job left running."""
    for pid in marked(job):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def check(result: int) -> None:
    """An OSError if a call of the C library failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def drain(fd: int) -> None:
    """Empty a pipe."""
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
