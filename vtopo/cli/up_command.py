"""`vtopo up`: makes the world match a lab file."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import CHANGES, DONE, USAGE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.reading import STDIN_SHOWN, read_source
from vtopo.cli.run_options import with_run_options
from vtopo.cli.settings import with_settings
from vtopo.cli.words import describe, duration
from vtopo.cli.world import backends_of, failures_in_words, hypervisor_of, say_waiting, state_dir, with_builds
from vtopo.lang import labname
from vtopo.lang.source import Source
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.backends.zygotes import Zygotes
    from vtopo.cli.stream import Stream
    from vtopo.cli.trace import Trace
    from vtopo.model.lab import Lab
    from vtopo.plan.plan import Plan
    from vtopo.plan.saved import SavedPlan
    from vtopo.run.early import EarlyLook
    from vtopo.run.transaction import MadeOf
    from vtopo.state.folder import StateDir


@dataclass(frozen=True, slots=True)
class _How:
    """What the options say of the run; it `began` at this moment of time.monotonic."""

    keep_failed: bool
    jobs: int | None
    trace: Trace | None
    began: float

    def timed(self, console: Console, phase: str) -> contextlib.AbstractContextManager[None]:
        """Has whoever wants to know hear how long a phase before the run takes."""
        if self.trace is None and not console.verbose:
            return contextlib.nullcontext()
        from vtopo.cli.following import timed_before

        return timed_before(phase, console, self.trace)


@click.command("up", epilog="Example:  vtopo up labs/quickstart.vlab")
@click.argument("file", metavar="FILE|PLAN")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--exit-code", is_flag=True, help="With --dry-run: exit with 3 if there is something to do.")
@click.option("--keep-failed", is_flag=True, help="Keep what was made if a step fails, to look at it.")
@with_run_options
@with_settings
@with_connect
@with_console()
def command(
    console: Console,
    file: str,
    dry_run: bool,
    exit_code: bool,
    keep_failed: bool,
    jobs: int | None,
    trace: Path | None,
    settings: dict[str, str],
) -> int:
    """Make the world match a lab's FILE, or carry out a saved PLAN of one; or leave all as it was."""
    if dry_run:
        from vtopo.cli.plan_command import show_plan

        plan = show_plan(console, file, settings)
        return CHANGES if exit_code and plan else DONE
    if exit_code:
        raise Failure("--exit-code goes with --dry-run, or with `vtopo plan`", USAGE)
    began = time.monotonic()
    enter_world(start=True)
    with _traced(trace, f"vtopo up {file}") as tracing:
        _up(console, file, settings, _How(keep_failed, jobs, tracing, began))
    return DONE


def _traced(trace: Path | None, command: str) -> contextlib.AbstractContextManager[Trace | None]:
    if trace is None:
        return contextlib.nullcontext()
    from vtopo.cli.following import traced

    return traced(trace, command)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be: the lab of a file, or of a saved plan."""

    lab: Lab
    source: Source
    saved: SavedPlan | None = None
    made_of: MadeOf | None = None


def _up(console: Console, file: str, settings: dict[str, str], how: _How) -> None:
    with how.timed(console, "read"):
        saved = _saved(file, settings)
        source = read_source(file) if saved is None else Source(file, "")
    state = state_dir()
    name = labname.guess(source.text, source.path) if saved is None else saved.lab
    with contextlib.ExitStack() as held:
        with how.timed(console, "head start"):
            early = held.enter_context(_head_start(name, state, source))
        with how.timed(console, "check"):
            if saved is None:
                if _is_as_made(console, early.look, state, source, settings, how):
                    console.say(_NOTHING.format(name, source.path))
                    return
                wanted = _checked(console, source, settings)
            else:
                from vtopo.cli.plan_file import compile_saved

                wanted = _Wanted(*compile_saved(console.in_lines(), file, saved), saved)
        if name != wanted.lab.name:
            early.close()
            early = _Early()
        plan = _bring_up(console, wanted, file, state, early, how)
    _report(console, wanted, plan, time.monotonic() - how.began)


_NOTHING = "{} is up and as {} says; nothing to do"


def _is_as_made(
    console: Console,
    look: EarlyLook | None,
    state: StateDir,
    source: Source,
    settings: dict[str, str],
    how: _How,
) -> bool:
    """Whether there is nothing to do, which can often be known without compiling; nobody may want to hear of steps."""
    if look is None or how.trace is not None or console.verbose or console.json:
        return False
    from vtopo.cli.unedited import is_as_made

    return is_as_made(look, state, source, settings)


def _checked(console: Console, source: Source, settings: dict[str, str]) -> _Wanted:
    """The lab of a source; what it was made of is remembered if it is all in texts, and none gave a warning."""
    from vtopo.cli.sources import told
    from vtopo.cli.unedited import Reading
    from vtopo.compile.frontend import check_source

    reading = Reading(source, settings)
    checked = check_source(source, settings, reading.module, reading.file)
    lab = told(console.in_lines(), checked)
    all_told = not len(checked.diagnostics) and source.path != STDIN_SHOWN
    built = any(node.build is not None for node in lab.containers)
    return _Wanted(lab, source, made_of=reading.made_of if all_told and not built else None)


def _saved(file: str, settings: dict[str, str]) -> SavedPlan | None:
    if file.endswith(".vlab"):
        return None
    from vtopo.cli.plan_file import is_plan_file, read_plan

    if not is_plan_file(file):
        return None
    from vtopo.cli.plan_command import refuse_settings

    refuse_settings(file, settings)
    return read_plan(file)


def _may_have_hosts(source: Source) -> bool:
    """Whether a lab may have hosts, by the words of its file; of a saved plan there are none to go by."""
    return not source.text or re.search(r"\b(host|use)\b", source.text) is not None


@dataclass(frozen=True, slots=True)
class _Early:
    """What was begun for a lab while its file was still to be parsed."""

    look: EarlyLook | None = None
    zygotes: Zygotes | None = None

    def close(self) -> None:
        """Let go of the lab, and end what was started."""
        for each in (self.zygotes, self.look):
            if each is not None:
                each.close()


@contextlib.contextmanager
def _head_start(lab: str, state: StateDir, source: Source) -> Iterator[_Early]:
    """What can be done for a lab while its file is still to be parsed.

    One that is up is looked at; the processes that clone hosts are started for those that it does not have yet.
    """
    from vtopo.cli.ahead import begun, look_at
    from vtopo.lang.census import hosts_at_sight, hosts_with_users_at_sight

    with contextlib.ExitStack() as stack:
        zygotes: Zygotes | None = None
        # Whoever has to wait, or is refused, is so after the file's own errors have been told.
        look = begun(lab) or look_at(lab, state)
        if look is not None:
            stack.push(look)
        is_up = (state.folder(lab) / "state.db").exists()
        likely = hosts_at_sight(source.text)
        if is_up:
            likely -= _recorded_hosts(state, lab)
        if likely > 0 or (not is_up and _may_have_hosts(source)):
            from vtopo.backends.zygotes import Zygotes

            count = 1 if is_up and likely < _FOR_TWO else 2
            if hosts_with_users_at_sight(source.text) >= _FOR_THREE:
                count = 3
            with contextlib.suppress(OSError):  # the run tries it again, and says what is wrong
                zygotes = stack.enter_context(Zygotes(lab, count, likely=max(likely, 0)))
        yield _Early(look, zygotes)


_FOR_TWO = 32
"""So many hosts are made sooner by two processes than the second one takes to start."""
_FOR_THREE = 128
"""So many hosts with a user namespace are made sooner by three: they wait for the kernel and for each other's locks."""


def _recorded_hosts(state: StateDir, lab: str) -> int:
    from vtopo.state.folder import StateError
    from vtopo.state.store import Store

    try:
        with Store.open(state, lab) as store:
            return store.count("host")
    except (OSError, StateError):
        return 0


def _bring_up(
    console: Console,
    wanted: _Wanted,
    file: str,
    state: StateDir,
    early: _Early,
    how: _How,
) -> Plan:
    from vtopo.cli.following import followed
    from vtopo.compile.compiler import compile_lab
    from vtopo.plan.saved import StalePlan
    from vtopo.run.transaction import Waiting, up

    lab, source = wanted.lab, wanted.source
    if not lab.hosts and not lab.bridges:
        raise Failure(f"{source.path} declares no node; there is nothing to bring up", USAGE)
    with how.timed(console, "compile"):
        desired = with_builds(compile_lab(lab, str(Path.cwd())), lab.name)
    stream = _stream(lab, how) if console.json else None
    try:
        with (
            failures_in_words(console, {source.path: source}),
            followed(console, how.trace, stream) as follower,
        ):
            result = up(
                lab.name,
                desired,
                _absolute(wanted),
                backends_of(lab.name, follower.watch, early.zygotes),
                state,
                on_event=follower.on_event,
                waiting=Waiting(on_wait=say_waiting(console)),
                watch=follower.watch,
                jobs=how.jobs,
                keep_failed=how.keep_failed,
                early=early.look,
                saved=wanted.saved,
                libvirt=hypervisor_of(lab.name).uri if lab.vms else "",
                made_of=wanted.made_of,
            )
            if stream is not None:
                from vtopo.cli.stream import counts

                stream.summary(ok=True, changed=bool(result.plan), counts=counts(result.plan))
    except StalePlan as e:
        from vtopo.cli.plan_file import stale

        assert wanted.saved is not None
        raise stale(file, wanted.saved, e) from e
    return result.plan


def _stream(lab: Lab, how: _How) -> Stream:
    from vtopo.cli.stream import Stream

    return Stream(lab.name, how.began)


def _absolute(wanted: _Wanted) -> str:
    """Where the lab file is, or was when the plan was made; `<stdin>` if it is no file."""
    if wanted.saved is not None:
        first = wanted.saved.texts[0]
        return first.file or first.path
    path = wanted.source.path
    return path if path == STDIN_SHOWN else str(Path(path).resolve())


def _report(console: Console, wanted: _Wanted, plan: Plan, seconds: float) -> None:
    if console.json:
        return
    lab, file = wanted.lab, wanted.source.path
    if not plan:
        console.say(_NOTHING.format(lab.name, file))
        return
    console.say(f"{console.style(lab.name, 'bold')}: {describe(lab)}")
    console.say(f"{console.style('up', 'good')} in {duration(seconds)}: {_did(plan)}")
    _say_accel(console, lab)
    _say_next(console, lab, file)


def _say_accel(console: Console, lab: Lab) -> None:
    """VMs that fell back to emulation run, but slowly, and whoever wonders why is to know."""
    fallen = [vm.name for vm in lab.vms if vm.accel == "auto"]
    if not fallen:
        return
    from vtopo.backends.kvm import kvm

    found = kvm()
    if not found.works:
        names = ", ".join(fallen[:4]) + (" …" if len(fallen) > 4 else "")
        console.say(
            f"{console.style('note', 'warning')}: no KVM for {names}, so TCG emulates: {found.reason}"
        )


def _did(plan: Plan) -> str:
    """`9 created, 2 updated, 40 unchanged`."""
    past = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
    counts = plan.counts
    parts = [f"{n} {past[a]}" for a, n in counts.items() if a in past and n]
    if plan.unchanged:
        parts.append(f"{plan.unchanged} unchanged")
    return ", ".join(parts)


def _say_next(console: Console, lab: Lab, file: str) -> None:
    """What one would do next."""
    tries = []
    if (shell := next((host.name for host in lab.hosts if host.kind != "vm"), None)) is not None:
        tries.append(f"vtopo shell {shell}")
    elif lab.vms:
        tries.append(f"vtopo console {lab.vms[0].name}")
    if lab.expectations:
        tries.append(f"vtopo test {file}")
    tries.append("vtopo down")
    console.say(f"next: {console.style(' · '.join(tries), 'dim')}")
