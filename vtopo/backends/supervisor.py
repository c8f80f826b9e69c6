"""The program that keeps a lab's processes running: `python -I -S supervisor.py FOLDER`, one for all its hosts.

It imports few modules, of vtopo and else, to be small and quick to start. Its environment holds
the mark VTOPO_LAB; `FOLDER` is the lab's tmpfs, where its socket `supervisor` and the logs are. A message, either
way, is a line of JSON. Requests: `run` a daemon and keep it running, `once` run a command to its end, `hold` and
`resume` daemons, `end` them, `list` them. Daemons are its children, inside the hosts' namespaces and cgroups.
"""

# Plain functions of os, no pathlib: what is loaded here stays in memory as long as the lab.
# ruff: noqa: PTH100, PTH108, PTH110, PTH120

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtopo.backends.docker_watch import Watch

GRACE = 0.2  # seconds that a daemon runs before its start counts as done
TRIES = 3  # starts of a daemon that ends within the grace, before that is a failure
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0  # seconds before a daemon is started again: doubled each time
LASTING = 10.0  # seconds that a daemon runs before its earlier ends are forgotten
PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
STARTS = 16  # processes started in one round, so that output is read in between
AT_ONCE = 64  # commands that run at the same time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from vtopo.backends.foreign import CLONE_NEWPID, NAMESPACES, ns_inode  # noqa: E402
from vtopo.backends.supervised import (  # noqa: E402
    FILES,
    Client,
    Ground,
    Job,
    Message,
    become,
    check,
    drain,
    end_marked,
    libc,
    marked,
    signal_name,
)
from vtopo.backends.zygote_calls import SetupError  # noqa: E402


class Supervisor:
    """All jobs, all connections, and one poll(2) over them."""

    def __init__(self, folder: str) -> None:
        self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.ground: Ground | None = None  # without it, processes start as forks of this one
        try:
            self.ground = Ground(self.folder)
        except SetupError as e:
            if e.args[0] != errno.ENOENT:  # there is no such program for this machine's processor
                raise
        self.poll = select.poll()
        self.clients: dict[int, Client] = {}
        self.pipes: dict[int, Job] = {}
        self.beginning: dict[int, Job] = {}  # what is about to run in containers
        self.jobs: dict[str, Job] = {}  # daemons by key
        self.waiting: list[Job] = []  # to be started when due
        self.by_pid: dict[int, Job] = {}
        self.young: dict[int, Job] = {}  # daemons by pid that have not lasted for the grace yet
        self.commands: dict[int, Job] = {}  # running commands by pid
        # By pid: when to kill, who waits for its end.
        self.ending: dict[int, tuple[float, Client | None, str]] = {}
        self.own = {name: ns_inode("self", name) for name, _ in NAMESPACES}
        self.watch: Watch | None = None
        self.home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.away = False
        self.over = False
        self.changes, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "over", True))
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = f"{folder}/supervisor"
        if os.path.exists(path):
            os.unlink(path)
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
                elif fd in self.beginning:
                    self.begin(fd)
                elif fd in self.pipes:
                    self.hear(fd)
                elif fd in self.clients:
                    self.talk(fd, events)
                elif self.watch is not None and fd == self.watch.fd:
                    self.poll.unregister(fd)
                    self.watch.hear()
            self.reap()
            self.on_time(time.monotonic())
            if self.watch is not None and self.watch.fd >= 0:
                self.poll.register(self.watch.fd, select.POLLIN)
            self.flush()

    def pause(self) -> float | None:
        """Milliseconds until something is due; None if nothing is."""
        times = [job.due for job in self.waiting] + [when for when, _, _ in self.ending.values()]
        times += [job.started + GRACE for job in self.young.values()]
        times += [job.started + job.timeout for job in self.commands.values() if job.timeout]
        if self.watch is not None and (due := self.watch.wait_until()) is not None:
            times.append(due)
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
            jobs = [job.describe() for job in self.jobs.values()]
            client.tell({"jobs": jobs, "watches": self.watch is not None})
        elif verb == "watch":
            self.watch_for(message, client)
        else:
            for key in message["keys"]:
                self.change(verb, key, client)

    def watch_for(self, message: Message, client: Client) -> None:
        """Watch an engine from now on, or (`engine` is empty) none."""
        from vtopo.backends.docker_watch import Watch

        if self.watch is not None and self.watch.fd >= 0:
            self.poll.unregister(self.watch.fd)
            os.close(self.watch.fd)
        self.watch = None
        if message["engine"]:
            self.watch = Watch(message["engine"], message["lab"], message["argv"], message["env"])
            self.watch.connect(time.monotonic())
        client.tell({"key": "", "done": True})

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
            if job.pid and job.pid not in self.ending:
                client.tell({"key": key, "done": True})
                job.client = None
            elif not job.pid and job not in self.waiting:
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
        if self.watch is not None and not self.over:
            self.watch.on_time(now)
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
        job = self.by_pid.get(pid)
        if job is not None and job.container and number == signal.SIGKILL:
            number = signal.SIGUSR1  # the relay's KILL: SIGKILL would end the one who stands for it
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
        begun, begins = -1, -1
        try:
            if job.container:
                begun, begins = os.pipe2(os.O_CLOEXEC)
            # By the kernel's word: what an init's environment says its host's root can write.
            flags = sum(flag for n, flag in NAMESPACES if ns_inode(job.host, n) != self.own[n])
            pidfd = os.pidfd_open(job.host)
            try:
                if not job.lives():
                    raise ProcessLookupError(errno.ESRCH, "the host is not running")
                self.enter(pidfd, 0 if job.container else flags & CLONE_NEWPID)
                if self.ground is not None and not job.container:
                    job.pid = self.ground.start(job, pidfd, flags & ~CLONE_NEWPID, theirs)
                elif (pid := os.fork()) == 0:
                    become(job, pidfd, flags & ~CLONE_NEWPID, theirs, begins)
                else:
                    job.pid = pid
            finally:
                os.close(pidfd)
        except OSError as e:
            os.close(ours)
            if begun >= 0:
                os.close(begun)
            self.not_now(job, e)
            return
        finally:
            os.close(theirs)
            if begins >= 0:
                os.close(begins)
        job.started = time.monotonic()
        job.log.tail = b""
        self.by_pid[job.pid] = job
        if not job.keep:
            self.commands[job.pid] = job
        elif begun < 0:
            self.young[job.pid] = job
        if begun >= 0:
            job.begun = begun
            self.beginning[begun] = job
            self.poll.register(begun, select.POLLIN)
        os.set_blocking(ours, False)
        job.pipe = ours
        self.pipes[ours] = job
        self.poll.register(ours, select.POLLIN)

    def begin(self, fd: int) -> None:
        """What is to run in a container runs, or will not."""
        job = self.beginning.pop(fd)
        self.poll.unregister(fd)
        if os.read(fd, 1) and job.pid:
            job.started = time.monotonic()
            if job.keep:
                self.young[job.pid] = job
        os.close(fd)

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
            job.hear(data)
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
            if self.watch is not None:
                self.watch.reaped(pid, os.waitstatus_to_exitcode(status))
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
        if self.ground is not None and (number := self.ground.failure(job)):
            code = job.fails(number)
        lasted = time.monotonic() - job.started
        job.pid = 0
        if job.container and code < 0:  # who stood for it was killed
            end_marked(job)
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
        left = "; what it started goes on in the background" if not code and next(marked(job), 0) else ""
        assert job.client is not None
        message = {
            "key": job.key,
            "done": False,
            "reason": f"{job.last}, {TRIES} times in a row, at once{left}",
        }
        job.client.tell({**message, "output": job.log.tail.decode(errors="replace")})
        job.client = None
        job.log.close()
        del self.jobs[job.key]


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
