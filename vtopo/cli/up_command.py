"""`vtopo up`: makes the world match a lab file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.run_options import with_jobs
from vtopo.cli.sources import check_loaded, read_source, with_settings
from vtopo.cli.words import describe, duration
from vtopo.cli.world import backends_of, failures_in_words, need_root, say_waiting, state_dir
from vtopo.lang import labname
from vtopo.lang.source import Source
from vtopo.model.lab import Lab

if TYPE_CHECKING:
    from vtopo.backends.zygotes import Zygotes
    from vtopo.plan.plan import Plan
    from vtopo.run.early import EarlyLook
    from vtopo.state.folder import StateDir


@click.command("up", epilog="Example:  vtopo up labs/quickstart.vlab")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--keep-failed", is_flag=True, help="Keep what was made if a step fails, to look at it.")
@with_jobs
@with_settings
@with_console()
def command(
    console: Console, file: str, dry_run: bool, keep_failed: bool, jobs: int | None, settings: dict[str, str]
) -> None:
    """Make the world match FILE, or leave it as it was."""
    if dry_run:
        from vtopo.cli.plan_command import show_plan

        show_plan(console, file, settings)
        return
    started = time.monotonic()
    source = read_source(file)
    need_root("`vtopo up`")
    state = state_dir()
    with _head_start(labname.guess(source.text, source.path), state) as early:
        lab = check_loaded(console, source, settings)
        if early is not None and early.lab != lab.name:
            early.close()
            early = None
        plan = _bring_up(console, lab, source, state, early, keep_failed, jobs)
    _report(console, lab, file, plan, time.monotonic() - started)


@contextlib.contextmanager
def _head_start(lab: str, state: StateDir) -> Iterator[Zygotes | EarlyLook | None]:
    """What can be done for a lab while its file is still to be parsed.

    The processes that clone hosts are started for one that is not up; one that is up is looked at.
    """
    from vtopo.state.folder import StateError
    from vtopo.state.lock import LockHeld

    with contextlib.ExitStack() as stack:
        early: Zygotes | EarlyLook | None = None
        if (state.folder(lab) / "state.db").exists():
            from vtopo.run.early import EarlyLook

            # Whoever has to wait, or is refused, is so after the file's own errors have been told.
            with contextlib.suppress(LockHeld, StateError):
                early = stack.enter_context(EarlyLook(state, lab, lambda: backends_of(lab)))
        else:
            from vtopo.backends.zygotes import Zygotes

            early = stack.enter_context(Zygotes(lab))
        yield early


def _bring_up(
    console: Console,
    lab: Lab,
    source: Source,
    state: StateDir,
    early: Zygotes | EarlyLook | None,
    keep: bool,
    jobs: int | None,
) -> Plan:
    from vtopo.backends.base import Watch
    from vtopo.backends.zygotes import Zygotes
    from vtopo.cli.progress import shown
    from vtopo.compile.compiler import compile_lab
    from vtopo.run.transaction import Waiting, up

    if not lab.hosts and not lab.bridges:
        raise Failure(f"{source.path} declares no node; there is nothing to bring up", USAGE)
    zygotes, look = (early, None) if isinstance(early, Zygotes) else (None, early)
    watch = Watch()
    with failures_in_words(console, {source.path: source}), shown(console) as listener:
        result = up(
            lab.name,
            compile_lab(lab),
            _absolute(source.path),
            backends_of(lab.name, watch, zygotes),
            state,
            on_event=listener,
            waiting=Waiting(on_wait=say_waiting(console)),
            watch=watch,
            jobs=jobs,
            keep_failed=keep,
            early=look,
        )
    return result.plan


def _absolute(path: str) -> str:
    return path if path == "<stdin>" else str(Path(path).resolve())


def _report(console: Console, lab: Lab, file: str, plan: Plan, seconds: float) -> None:
    if console.json:
        counts = {str(action): count for action, count in plan.counts.items()}
        console.facts(
            {"lab": lab.name, "changed": bool(plan), "counts": counts, "seconds": round(seconds, 3)}
        )
        return
    if not plan:
        console.say(f"{lab.name} is up and as {file} says; nothing to do")
        return
    console.say(f"{console.style(lab.name, 'bold')}: {describe(lab)}")
    console.say(f"{console.style('up', 'good')} in {duration(seconds)}: {_did(plan)}")
    _say_next(console, lab, file)


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
    if lab.hosts:
        tries.append(f"vtopo shell {lab.hosts[0].name}")
    if lab.expectations:
        tries.append(f"vtopo test {file}")
    tries.append("vtopo down")
    console.say(f"next: {console.style(' · '.join(tries), 'dim')}")
