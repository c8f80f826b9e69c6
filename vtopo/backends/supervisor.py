"""The program that keeps a lab's processes running: `python -I -S supervisor.py FOLDER`, one for all its hosts.

It imports nothing of vtopo, to be small and quick to start. Its environment holds the mark VTOPO_LAB; `FOLDER`
is the lab's tmpfs, where its socket `supervisor` and the logs are. A message, either way, is a line of JSON.
Requests: `run` a daemon and keep it running, `once` run a command to its end, `hold` and `resume` daemons,
`end` them, `list` them. Daemons are its children, inside the hosts' namespaces and cgroups: they die with it.
"""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as the lab.
# ruff: noqa: PTH101, PTH103, PTH104, PTH105, PTH107, PTH116, PTH118, PTH120, PTH123, PTH202, PTH208

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

# Each kind of namespace by its file in /proc/PID/ns, with its flag for setns(2) (namespaces(7)).
NAMESPACES = (
    ("user", 0x10000000),
    ("cgroup", 0x02000000),
    ("ipc", 0x08000000),
    ("uts", 0x04000000),
    ("net", 0x40000000),
    ("pid", 0x20000000),
    ("mnt", 0x00020000),
    ("time", 0x00000080),
)
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000

GRACE = 0.2  # seconds that a daemon runs before its start counts as done
TRIES = 3  # starts of a daemon that ends within the grace, before that is a failure
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0  # seconds before a daemon is started again: doubled each time
LASTING = 10.0  # seconds that a daemon runs before its earlier ends are forgotten
PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
LOG_SIZE = 1 << 20  # bytes, then the log goes on in a new file; one old one is kept
TAIL = 4096  # bytes of output that are kept for the message of a failure
STARTS = 16  # processes started in one round, so that output is read in between
AT_ONCE = 64  # commands that run at the same time

FILES = resource.getrlimit(resource.RLIMIT_NOFILE)  # as processes in hosts are to have it

libc = ctypes.CDLL(None, use_errno=True)
Message = dict[str, Any]


class Log:
    """A file that output goes to; past its size it becomes `….1`, and the one before that is gone."""

    def __init__(self, path: str) -> None:
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
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
        if self.size >= LOG_SIZE:
            self.close()
            os.replace(self.path, f"{self.path}.1")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(self.path, flags, 0o600)
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

    def __init__(self, message: Message, client: Client | None, folder: str) -> None:
        self.key: str = message["key"]
        self.host: int = message["pid"]
        self.host_start: int = message["start"]
        self.argv: list[str] = message["argv"]
        self.env: dict[str, str] = message["env"]
        self.cgroups: list[str] = message["cgroups"]
        self.keep = message["do"] == "run"
        self.timeout: float = message.get("timeout", 0.0)
        self.log = Log(f"{folder}/logs/{message['log']}")
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

    def lives(self) -> bool:
        """Whether its host does."""
        try:
            with open(f"/proc/{self.host}/stat", "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
        except OSError:
            return False
        return fields[0] not in (b"Z", b"X") and int(fields[19]) == self.host_start


class Supervisor:
    """All jobs, all connections, and one poll(2) over them."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.poll = select.poll()
        self.clients: dict[int, Client] = {}
        self.pipes: dict[int, Job] = {}
        self.jobs: dict[str, Job] = {}  # daemons by key
        self.waiting: list[Job] = []  # to be started when due
        self.by_pid: dict[int, Job] = {}
        self.young: dict[int, Job] = {}  # daemons by pid that have not lasted for the grace yet
        self.commands: dict[int, Job] = {}  # running commands by pid
        self.ending: dict[int, tuple[float, Client | None, str]] = {}  # pid: when to kill, who waits for its end
        self.own = {name: ns_inode("self", name) for name, _ in NAMESPACES}
        self.home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.away = False
        self.over = False
        self.changes, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "over", True))
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = f"{folder}/supervisor"
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self.server.bind(path)
        self.server.listen(64)
        self.server.setblocking(False)
        for fd in (self.server.fileno(), self.changes):
            self.poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Until SIGTERM; then everything ends, and is reaped, so that no host's end waits for it."""
        while not self.over or self.by_pid:
            if self.over:
                self.waiting.clear()
                for pid in self.by_pid:
                    self.kill(pid, signal.SIGKILL)
            for fd, events in self.poll.poll(self.pause()):
                if fd == self.server.fileno():
                    self.accept()
                elif fd == self.changes:
                    drain(fd)
                elif fd in self.pipes:
                    self.hear(fd)
                elif fd in self.clients:
                    self.talk(fd, events)
            self.reap()
            self.on_time(time.monotonic())
            self.flush()

    def pause(self) -> float | None:
        """Milliseconds until something is due; None if nothing is."""
        times = [job.due for job in self.waiting] + [when for when, _, _ in self.ending.values()]
        times += [job.started + GRACE for job in self.young.values()]
        times += [job.started + job.timeout for job in self.commands.values() if job.timeout]
        if not times:
            return None
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1

    # Connections

    def accept(self) -> None:
        """Somebody connects; only who may enter the lab's folder can."""
        try:
            wire, _ = self.server.accept()
        except OSError:
            return
        wire.setblocking(False)
        self.clients[wire.fileno()] = Client(wire)
        self.poll.register(wire.fileno(), select.POLLIN)

    def talk(self, fd: int, events: int) -> None:
        """Read requests; a connection that ends takes its commands with it."""
        client = self.clients[fd]
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            try:
                data = client.wire.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.hang_up(client)
                return
            *lines, client.incoming = (client.incoming + data).split(b"\n")
            for line in lines:
                try:
                    self.do(json.loads(line), client)
                except (ValueError, KeyError, TypeError) as e:
                    client.tell({"key": "", "done": False, "reason": f"not a request: {e!r}"})

    def hang_up(self, client: Client) -> None:
        """Forget a client."""
        fd = client.wire.fileno()
        self.poll.unregister(fd)
        del self.clients[fd]
        client.wire.close()
        self.waiting = [job for job in self.waiting if job.keep or job.client is not client]
        for job in (*self.jobs.values(), *self.by_pid.values()):
            if job.client is client:
                job.client = None
                if not job.keep and job.pid:
                    self.kill(job.pid, signal.SIGKILL)

    def flush(self) -> None:
        """Send what is to be told."""
        for fd, client in list(self.clients.items()):
            if client.outgoing:
                try:
                    client.outgoing = client.outgoing[client.wire.send(client.outgoing) :]
                except BlockingIOError:
                    pass
                except OSError:
                    self.hang_up(client)
                    continue
            self.poll.modify(fd, select.POLLIN | (select.POLLOUT if client.outgoing else 0))

    def do(self, message: Message, client: Client) -> None:
        """One request."""
        verb = message["do"]
        if verb in ("run", "once"):
            job = Job(message, client, self.folder)
            if job.keep:
                if old := self.jobs.pop(job.key, None):
                    self.end(old, None)
                    self.kill(old.pid, signal.SIGKILL)
                self.jobs[job.key] = job
            self.waiting.append(job)
        elif verb == "list":
            client.tell({"jobs": [self.describe(job) for job in self.jobs.values()]})
        else:
            for key in message["keys"]:
                self.change(verb, key, client)

    def change(self, verb: str, key: str, client: Client) -> None:
        """Hold, resume or end a daemon."""
        job = self.jobs.get(key)
        if job is None:
            client.tell({"key": key, "done": verb == "end", "reason": "it is not known here"})
            return
        if verb == "resume":
            job.held = False
            job.client = client
            job.in_a_row = 0
            if not job.pid and job not in self.waiting:
                job.due = 0.0
                self.waiting.append(job)
            return
        job.held = True
        if verb == "end":
            del self.jobs[key]
        self.end(job, client)

    def end(self, job: Job, client: Client | None) -> None:
        """Stop a daemon; `client` is told when it has ended."""
        if job in self.waiting:
            self.waiting.remove(job)
        if job.client is not None:
            job.client.tell({"key": job.key, "done": False, "reason": "it was stopped meanwhile"})
            job.client = None
        if not job.pid:
            if client is not None:
                client.tell({"key": job.key, "done": True})
            return
        self.kill(job.pid, signal.SIGTERM)
        self.ending[job.pid] = (time.monotonic() + PATIENCE, client, job.key)

    def describe(self, job: Job) -> Message:
        """How a daemon is."""
        state = "running" if job.pid else "held" if job.held else "waiting"
        now = time.monotonic()
        return {
            "key": job.key,
            "state": "held" if job.held else state,
            "host": job.host,
            "host_start": job.host_start,
            "pid": job.pid,
            "seconds": now - job.started if job.pid else 0.0,
            "wait": max(0.0, job.due - now),
            "exits": job.exits,
            "last": job.last,
        }

    # Time

    def on_time(self, now: float) -> None:
        """Start what is due, count as started what lasts, kill what was asked to end and does not."""
        room = STARTS
        jobs, self.waiting = self.waiting, []
        for job in jobs:
            if job.due > now or not room or (not job.keep and len(self.commands) >= AT_ONCE):
                self.waiting.append(job)
            else:
                room -= 1
                self.start(job)
        self.go_home()
        for pid, job in list(self.young.items()):
            if now - job.started >= GRACE:
                del self.young[pid]
                if job.client is not None:
                    job.client.tell({"key": job.key, "done": True})
                    job.client = None
        for job in self.commands.values():
            if job.timeout and now - job.started >= job.timeout:
                job.timed_out, job.timeout = True, 0.0
                self.kill(job.pid, signal.SIGKILL)
        for pid, (when, client, key) in list(self.ending.items()):
            if now >= when:
                self.kill(pid, signal.SIGKILL)
                self.ending[pid] = (now + PATIENCE, client, key)

    def kill(self, pid: int, number: int) -> None:
        """A signal to a child's process group: a child that is not reaped keeps its number."""
        if not pid:
            return
        for send, target in ((os.killpg, pid), (os.kill, pid)):
            try:
                send(target, number)
            except OSError:
                continue

    def start(self, job: Job) -> None:
        """Start a job's process in its host."""
        if not job.lives():
            self.lost(job, "the host is not running")
            return
        try:
            ours, theirs = os.pipe2(os.O_CLOEXEC)
        except OSError as e:
            self.not_now(job, e)
            return
        try:
            others = [(n, flag) for n, flag in NAMESPACES if ns_inode(job.host, n) != self.own[n]]
            flags = sum(flag for _, flag in others)
            pidfd = os.pidfd_open(job.host)
            try:
                if not job.lives():
                    raise ProcessLookupError(errno.ESRCH, "the host is not running")
                self.enter(pidfd, flags & CLONE_NEWPID)
                job.pid = os.fork()
                if job.pid == 0:
                    become(job, pidfd, flags & ~CLONE_NEWPID, theirs)
            finally:
                os.close(pidfd)
        except OSError as e:
            os.close(ours)
            self.not_now(job, e)
            return
        finally:
            os.close(theirs)
        job.started = time.monotonic()
        job.log.tail = b""
        self.by_pid[job.pid] = job
        (self.young if job.keep else self.commands)[job.pid] = job
        os.set_blocking(ours, False)
        job.pipe = ours
        self.pipes[ours] = job
        self.poll.register(ours, select.POLLIN)

    def enter(self, pidfd: int, flag: int) -> None:
        """Have the next child born in the pid namespace of a host, or in this process' own."""
        if flag:
            check(libc.setns(pidfd, flag))
            self.away = True
        else:
            self.go_home()

    def go_home(self) -> None:
        """Let go of a host's pid namespace."""
        if self.away:
            check(libc.setns(self.home, CLONE_NEWPID))
            self.away = False

    def not_now(self, job: Job, error: OSError) -> None:
        """A process could not be made: a failure to whoever waits for it, else a reason to try later."""
        if job.client is not None or not job.keep or error.errno == errno.ESRCH:
            self.lost(job, f"it cannot be started: {error.strerror}")
            return
        job.last = f"not started: {error.strerror}"
        job.due = time.monotonic() + LONGEST_WAIT
        self.waiting.append(job)

    def lost(self, job: Job, reason: str) -> None:
        """A job that will not be started any more."""
        if self.jobs.get(job.key) is job:
            del self.jobs[job.key]
        if job.client is not None:
            job.client.tell({"key": job.key, "done": False, "reason": reason, "status": 125, "output": ""})
            job.client = None

    # Ends

    def hear(self, fd: int) -> None:
        """Output of a job, or of what it left running."""
        job = self.pipes[fd]
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            job.log.write(data)
            if not job.keep:
                job.output = (job.output + data)[-TAIL:]
            return
        self.poll.unregister(fd)
        del self.pipes[fd]
        os.close(fd)

    def reap(self) -> None:
        """Take note of every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.young.pop(pid, None)
            self.commands.pop(pid, None)
            if (job := self.by_pid.pop(pid, None)) is not None:
                self.ended(job, os.waitstatus_to_exitcode(status))
            if pid in self.ending:
                _, client, key = self.ending.pop(pid)
                if client is not None and client.wire.fileno() in self.clients:
                    client.tell({"key": key, "done": True})

    def ended(self, job: Job, code: int) -> None:
        """What follows from the end of a job's process."""
        if self.pipes.get(job.pipe) is job:
            self.hear(job.pipe)
        lasted = time.monotonic() - job.started
        job.pid = 0
        if not job.keep:
            job.log.close()
            if job.client is not None:
                output = job.output.decode(errors="replace")
                status = 124 if job.timed_out else 128 - code if code < 0 else code
                job.client.tell({"key": job.key, "done": status == 0, "status": status, "output": output})
            return
        job.last = f"killed by {signal_name(-code)}" if code < 0 else f"exit status {code}"
        if job.held or self.jobs.get(job.key) is not job:
            job.log.close()
            return
        job.exits += 1
        job.in_a_row = 1 if lasted >= LASTING else job.in_a_row + 1
        if job.client is not None and job.in_a_row >= TRIES:
            self.give_up(job, code)
            return
        wait = min(FIRST_WAIT * 2 ** min(job.in_a_row - 1, 16), LONGEST_WAIT)
        job.log.say(f"{job.last} after {lasted:.1f} s; starts again in {wait:g} s")
        job.log.close()
        job.due = time.monotonic() + wait
        self.waiting.append(job)

    def give_up(self, job: Job, code: int) -> None:
        """A daemon that never lasts: whoever wants it started is told, and it is not tried again."""
        left = "" if code else self.strays(job)
        assert job.client is not None
        message = {"key": job.key, "done": False, "reason": f"{job.last}, {TRIES} times in a row, at once{left}"}
        job.client.tell({**message, "output": job.log.tail.decode(errors="replace")})
        job.client = None
        job.log.close()
        del self.jobs[job.key]

    def strays(self, job: Job) -> str:
        """Whether a process that ended well left others behind, as one does that goes into the background."""
        mark = f"VTOPO_RUN={job.key}".encode()
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                try:
                    with open(f"/proc/{pid}/environ", "rb") as f:
                        if mark in f.read().split(b"\0") and ns_inode(pid, "net") == ns_inode(job.host, "net"):
                            return "; what it started goes on in the background"
                except OSError:
                    continue
        return ""


def become(job: Job, pidfd: int, flags: int, output: int) -> None:
    """Be the job's process: in the child of a fork. It does not return."""
    try:
        signal.set_wakeup_fd(-1)
        for path in job.cgroups:
            with open(f"{path}/cgroup.procs", "w") as f:
                f.write("0")
        if flags:
            check(libc.setns(pidfd, flags))
        if flags & CLONE_NEWUSER:
            os.setgroups([]) if can_set_groups() else None
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        os.setsid()
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_NOFILE, FILES)
        null = os.open("/dev/null", os.O_RDWR)
        for target, fd in enumerate((null, output, output)):
            os.dup2(fd, target)
        check(libc.prctl(1, signal.SIGKILL, 0, 0, 0))  # PR_SET_PDEATHSIG: it ends with its supervisor
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
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


def execute(argv: list[str], env: dict[str, str]) -> None:
    """execvpe(3). Python's own imports a module for it, in every child."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    error = OSError(errno.ENOENT, "command not found")
    for folder in env["PATH"].split(":"):
        try:
            os.execve(f"{folder}/{argv[0]}", argv, env)
        except FileNotFoundError:
            continue
        except OSError as e:
            error = e
    raise error


def can_set_groups() -> bool:
    """Whether the user namespace lets its root change groups (user_namespaces(7), setgroups)."""
    try:
        with open("/proc/self/setgroups") as f:
            return f.read().strip() == "allow"
    except OSError:
        return True


def ns_inode(pid: int | str, name: str) -> int:
    """The inode of one of a process' namespaces; 0 where the kernel has none of that kind."""
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino
    except FileNotFoundError:
        return 0


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


def main() -> None:
    """Say on standard output that the socket is there, then serve until killed."""
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES[1], FILES[1]))
    supervisor = Supervisor(sys.argv[1])
    os.write(1, b"ready\n")
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    supervisor.serve()


if __name__ == "__main__":
    main()
