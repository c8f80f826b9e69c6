"""The backend of what goes on in hosts and containers: the supervisor, commands, daemons, and that one is ready."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vtopo.backends import docker_marks, marks, membership, processes, supervision
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Watch, Weigh, Weight
from vtopo.backends.cgroup_paths import folders, hierarchies
from vtopo.backends.docker_engine import endpoint
from vtopo.backends.docker_logs import ContainerLogs
from vtopo.backends.docker_marks import container_name
from vtopo.backends.enter import login
from vtopo.backends.logs import Logs, path_of
from vtopo.backends.readiness import Waiting
from vtopo.backends.scratch import DEFAULT_RUN_DIR, Scratch
from vtopo.backends.supervision import Answer, Line, Order
from vtopo.compile.resources import Exec, Ready, Resource, Run, Supervisor
from vtopo.digests import sha256

STOPPING = 0.1  # seconds between two looks at whether the run stops
DYING = 10.0  # seconds that a supervisor may take to end
ENDING = 20.0  # seconds that daemons may take: the supervisor sends SIGKILL after five
COMMANDS = "exec"  # the log of all of a host's commands
_HANDED_ON = (
    "PATH",
    "HOME",
    "VTOPO_STATE_DIR",
    "XDG_STATE_HOME",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
)
"""Variables by which a command finds the records and the engine."""
_LINES = 10  # of output in the message of a failure


class LifeBackend:
    """What runs in the hosts of one lab."""

    kinds = frozenset({"supervisor", "exec", "run", "ready"})
    # To wait costs nothing; what a command does meanwhile is nobody's guess. The supervisor starts beside the hosts.
    slow: Mapping[str, Weigh] = MappingProxyType(
        {
            "supervisor": lambda _: Weight(cpu=1 / 4),
            "exec": lambda _: Weight(cpu=1 / 32),
            "ready": lambda _: Weight(cpu=0.005),
        }
    )

    def __init__(self, lab: str, run_dir: Path = DEFAULT_RUN_DIR, watch: Watch | None = None) -> None:
        self.lab = lab
        self.watch = watch or Watch()
        self.scratch = Scratch(lab, run_dir)
        self.logs = Logs(self.scratch.path)
        self._hierarchies = functools.cache(hierarchies)

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """A supervisor by its process, a daemon by what the supervisor says; what was done once, as long as its
        host lives, or until its container is made anew; that a container is ready, until it stops."""
        found: dict[str, Present] = {}
        jobs = self._jobs() if any(isinstance(r, Run) for r in recorded) else {}
        for r in recorded:
            if isinstance(r, Supervisor):
                handle = handles.get(r.id, Handle())
                if processes.is_alive(handle):
                    found[r.id] = Present(dataclasses.replace(r, watches=self._watches()), handle)
            elif isinstance(r, Run):
                job = jobs.get(r.id)
                handle = handles.get(r.host, Handle())
                if job is not None and _is_in(job, handle):
                    held = job.state == "held"
                    found[r.id] = Present(dataclasses.replace(r, state="held" if held else "running"))
            elif isinstance(r, Ready):
                if not r.in_container or processes.is_alive(handles.get(r.host, Handle())):
                    found[r.id] = Present(r)
            elif isinstance(r, Exec) and self._mark(r).exists():
                found[r.id] = Present(r)
        return found

    def logs_of(self, r: Exec | Run | Ready) -> Logs:
        """Where its node's logs are."""
        return ContainerLogs(self.lab, self.scratch.path) if r.in_container else self.logs

    def _jobs(self) -> Mapping[str, supervision.Job]:
        try:
            with Line.open(self.scratch.path) as line:
                return {job.key: job for job in line.jobs()}
        except BackendError:
            return {}

    def _watches(self) -> bool:
        with contextlib.suppress(BackendError), Line.open(self.scratch.path) as line:
            return line.watches()
        return False

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Nothing: processes run everywhere."""
        return iter(())

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Start the supervisor; run commands to their ends, daemons until they last, wait until hosts are ready."""
        for r in batch:
            if isinstance(r, Supervisor):
                yield self._start(r)
        execs = [r for r in batch if isinstance(r, Exec)]
        runs = [r for r in batch if isinstance(r, Run)]
        ready = [r for r in batch if isinstance(r, Ready)]
        if execs:
            yield from self._execute(execs, handles)
        if runs:
            yield from self._run(runs, handles)
        if ready:
            yield from self.wait_until_ready(ready, handles)

    def _start(self, r: Supervisor) -> Outcome:
        self._end_supervisors()
        try:
            handle = supervision.start(self.lab, self.scratch.path)
            if r.watches:
                self._watch(r)
        except OSError as e:
            return Failed(r.id, e.strerror or str(e), e.errno or 0)
        except BackendError as e:
            return Failed(r.id, str(e))
        return Done(r.id, handle)

    def _watch(self, r: Supervisor) -> None:
        """Have the supervisor watch Docker, or no longer."""
        program = str(Path(__file__).parents[1] / "cli/replug_program.py")
        start = f"import runpy, sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
        argv = [
            sys.executable,
            "-I",
            "-c",
            f"{start}runpy.run_path({program!r}, run_name='__main__')",
            self.lab,
        ]
        env = {name: value for name in _HANDED_ON if (value := os.environ.get(name))}
        if "VTOPO_STATE_DIR" in env:
            env["VTOPO_STATE_DIR"] = str(Path(env["VTOPO_STATE_DIR"]).absolute())
        with Line.open(self.scratch.path) as line:
            line.watch(self.lab, endpoint().path if r.watches else "", argv, env)

    # Commands

    def _execute(self, batch: Sequence[Exec], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        todo = {r.id: r for r in batch if not self._mark(r).exists()}
        yield from (Done(r.id) for r in batch if r.id not in todo)
        if not todo:
            return
        with Line.open(self.scratch.path) as line:
            line.order("once", [self.order(r, handles, COMMANDS) for r in todo.values()])
            while todo:
                answer = line.answer(time.monotonic() + STOPPING)
                if self.watch.stop.is_set():
                    break  # to hang up ends the commands
                if answer is None:
                    continue
                r = todo.pop(answer.key)
                if answer.done:
                    mark = self._mark(r)
                    mark.parent.mkdir(parents=True, exist_ok=True)
                    mark.touch()
                    yield Done(r.id)
                else:
                    yield Failed(r.id, _why(r.command, answer))
        yield from (Failed(id_, "given up, as the run stops", errno.ECANCELED) for id_ in todo)

    def _mark(self, r: Exec) -> Path:
        """A file that is there if the command was run in this making of the node.

        It goes with a host's layer; that of a container is known by Docker's id of that one.
        """
        folder = self.scratch.host(r.node) / "done"
        if r.in_container:
            folder = self.scratch.path / "done" / (docker_marks.id_of(self.lab, r.node) or "none")
        return folder / sha256(r.id.encode()).hexdigest()[:16]

    def order(self, r: Exec | Run | Ready, handles: Mapping[str, Handle], log: str) -> Order:
        """What the supervisor is to start for a resource; a container has its own environment already."""
        handle = handles.get(r.host, Handle())
        marks = {"VTOPO_LAB": self.lab, "VTOPO_NODE": r.node, "VTOPO_RUN": r.id}
        if r.in_container:
            name, engine = container_name(self.lab, r.node), endpoint().path
            return Order(r.id, handle, r.command, marks, path_of(r.node, log), container=name, engine=engine)
        env = {**login(), **dict(e.partition("=")[::2] for e in r.env), **marks}
        cgroups = folders(handle.pid, self._hierarchies) if handle.pid is not None else ()
        return Order(r.id, handle, r.command, env, path_of(r.node, log), cgroups)

    # Daemons

    def _run(self, batch: Sequence[Run], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        todo = {r.id: r for r in batch}
        self._end_strays(frozenset(todo))
        for r in batch:
            self.logs.forget(r.node, r.name)
        with Line.open(self.scratch.path) as line:
            line.order("run", [self.order(r, handles, r.name) for r in batch])
            yield from _answers(line, todo)

    def _end_strays(self, keys: frozenset[str]) -> None:
        """What daemons of these resources left running, though it went out of their supervisor's hands."""
        found = [handle for _, handle in membership.with_variable("VTOPO_RUN", keys)]
        found = [handle for handle in found if _is_of(self.lab, handle)]
        waiting = processes.kill(found)
        try:
            list(processes.wait(waiting, DYING))
        finally:
            processes.close_all(waiting)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Hold daemons, or let them go on; have the supervisor watch Docker, or no longer."""
        todo = {to.id: to for _, to in batch if isinstance(to, Run)}
        for _, to in batch:
            if isinstance(to, Supervisor):
                self._watch(to)
                yield Done(to.id)
            elif to.id not in todo:
                yield Failed(to.id, f"a {to.kind} cannot be changed in place", errno.EOPNOTSUPP)
        if todo:
            with Line.open(self.scratch.path) as line:
                for verb, state in (("hold", "held"), ("resume", "running")):
                    line.change(verb, [r.id for r in todo.values() if r.state == state])
                yield from _answers(line, todo)

    def wait_until_ready(
        self, batch: Sequence[Ready], handles: Mapping[str, Handle], since: Mapping[str, int] | None = None
    ) -> Iterator[Outcome]:
        """Each as soon as it is so, or as its time is up; log lines count from the sizes `since` on."""
        yield from Waiting(self, batch, handles, since or {}).outcomes()

    # All of a node's at once

    def hold(self, runs: Sequence[Run]) -> None:
        """End daemons, which are not started again by themselves."""
        if runs:
            with Line.open(self.scratch.path) as line:
                todo = {r.id: r for r in runs}
                line.change("hold", list(todo))
                list(_answers(line, todo))

    def stop(self, host: Handle, runs: Sequence[Run]) -> None:
        """Hold the daemons of a host and end every process in it but its init; BackendError if some do not end."""
        self.hold(runs)
        assert host.pid is not None
        for _ in range(3):  # what was forked meanwhile goes in the next round
            left = membership.processes(host.pid)
            if not left:
                return
            processes.end(left, ENDING / 4)
        if left := membership.processes(host.pid):
            raise BackendError(f"{len(left)} of its processes do not end, pid {left[0].pid} for one")

    def start(
        self,
        runs: Sequence[Run],
        ready: Sequence[Ready],
        handles: Mapping[str, Handle],
        since: Mapping[str, int],
    ) -> Iterator[Failed]:
        """Let the daemons of a host go on, and wait until it is ready; what failed."""
        if runs:
            with Line.open(self.scratch.path) as line:
                todo = {r.id: r for r in runs}
                line.change("resume", list(todo))
                yield from (o for o in _answers(line, todo) if isinstance(o, Failed))
        yield from (o for o in self.wait_until_ready(ready, handles, since) if isinstance(o, Failed))

    # Ends

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """End daemons with all that they started; what was done once stays done."""
        runs = {r.id: r for r in batch if isinstance(r, Run)}
        if runs:
            self._end_runs(list(runs))
        for r in batch:
            if isinstance(r, Supervisor):
                yield self._end_supervisor(r, handles.get(r.id, Handle()))
            else:
                yield Done(r.id)

    def _end_runs(self, keys: Sequence[str]) -> None:
        try:
            with Line.open(self.scratch.path) as line:
                line.change("end", keys)
                left = set(keys)
                until = time.monotonic() + ENDING
                while left and (answer := line.answer(until)) is not None:
                    left.discard(answer.key)
        except BackendError:
            pass  # without a supervisor there are only strays
        self._end_strays(frozenset(keys))

    def _end_supervisor(self, r: Supervisor, handle: Handle) -> Outcome:
        processes.end([handle], DYING / 2)
        self._end_supervisors()
        return Done(r.id)

    def _end_supervisors(self) -> list[str]:
        found = marks.supervisors(self.lab)
        processes.end(found, DYING / 2)
        return [f"supervisor {handle.pid}" for handle in found]

    def traces(self) -> Sequence[str]:
        """The lab's supervisor; daemons go with their hosts."""
        return marks.supervisor_traces(self.lab)

    def sweep(self) -> Sequence[str]:
        """End the lab's supervisors."""
        return self._end_supervisors()


def _answers(line: Line, todo: dict[str, Run]) -> Iterator[Outcome]:
    """One outcome per daemon, as the supervisor tells."""
    until = time.monotonic() + ENDING + len(todo) / 10
    while todo and (answer := line.answer(until)) is not None:
        r = todo.pop(answer.key, None)
        if r is not None:
            yield Done(r.id) if answer.done else Failed(r.id, _why(r.command, answer))
    for id_ in list(todo):
        yield Failed(id_, "the supervisor of the hosts' processes did not say what became of it")


def _why(command: Sequence[str], answer: Answer) -> str:
    """Why a command or daemon failed, with the last that it printed."""
    text = command[2] if command[:2] == ("/bin/sh", "-c") and len(command) == 3 else shlex.join(command)
    what = answer.reason or f"exit status {answer.status}"
    return f"`{_short(text)}`: {what}{said(answer.output.splitlines()[-_LINES:])}"


def said(lines: Sequence[str]) -> str:
    """The end of a message: what was printed."""
    return "; it printed\n" + "\n".join(f"    {line}" for line in lines) if lines else "; it printed nothing"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _is_in(job: supervision.Job, node: Handle) -> bool:
    """Whether a daemon is one of this node, and the node has not ended since: a container is started anew."""
    return (job.handle.pid, job.handle.start) == (node.pid, node.start) and processes.is_alive(node)


def _is_of(lab: str, handle: Handle) -> bool:
    """Whether a process is in a namespace of one of the lab's hosts, and not somebody's with a copied environment."""
    assert handle.pid is not None
    try:
        environ = Path(f"/proc/{handle.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"VTOPO_LAB={lab}".encode() in environ and bool(membership.own(handle.pid))
