"""Hosts with a user namespace are set up by a list of system calls: whichever fails, all is undone and told; and where
there is no program for the processor, forks do the same."""

# ruff: noqa: PTH115, PTH116

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli import World
from forks import forked, in_worlds, warm
from ground import STATE, apart
from sweep_labs import LABS, SweepLab, both
from test_error_sweep import Fails

from vtopo.backends import init, trampoline, zygotes

pytestmark = pytest.mark.skipif(
    trampoline.program(os.uname().machine) is None, reason="no program for lists of system calls"
)

ZYGOTE = """\
import struct, sys
sys.path.insert(0, {root!r})
from vtopo.backends import trampoline
flag = open({flag!r}, "a", buffering=1)  # later there is no way to it; both zygotes have it
real = trampoline.Calls.call
def call(self, name, *arguments, mode=trampoline.MUST):
    number = real(self, name, *arguments, mode=mode)
    if number == {at}:
        print(name, file=flag)
        if mode != trampoline.ALWAYS:
            self._first[-1] = struct.pack("<qq", {instead}, 0) + self._first[-1][16:]
    if number == {at} + 1:
        print("then", name, file=flag)
    return number
trampoline.Calls.call = call
with open({program!r}) as f:
    code = compile(f.read(), {program!r}, "exec")
exec(code, {{"__name__": "__main__", "__file__": {program!r}}})
"""
NONE_SUCH, EXIT_GROUP = 9999, 231
"""A system call that there is not, and the one that ends a process as if it had been killed."""


def disturb_list(at: int, instead: int, flag: Path) -> None:
    """In the zygotes' lists, another system call is in the place of the one with this number, counted from 0."""
    real = zygotes.program_path()
    program = STATE / "disturbed/vtopo/backends/zygote.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    root = str(Path(real).parents[2])
    program.write_text(ZYGOTE.format(at=at, instead=instead, flag=str(flag), program=real, root=root))
    zygotes.program_path = lambda: str(program)


def list_sweep(share: int, shares: int) -> list[str]:
    """What was wrong where, in `up` with a list of which one call fails, or ends the process, at those of one share."""
    lab = Fails("limits", apart(share))
    flag = STATE / "reached"
    wrong = []
    for at in itertools.count(share, shares):
        flag.write_text("")
        for instead in (NONE_SUCH, EXIT_GROUP):
            ran = lab.ground.up(lab.lab, first=partial(disturb_list, at, instead, flag))
            try:
                assert ran is not None
                if ran.failure is None:
                    # The init's pause(2) is made again; it has answered before.
                    assert flag.read_text().partition("\n")[0] in ("", "setgroups", "pause")
                    lab.ground.must_down()
                elif "pause" in flag.read_text():  # the init has answered before
                    assert ran.failure.undone
                elif instead == NONE_SUCH:
                    lab.is_well_said(ran, errno.ENOSYS)
                else:
                    assert ran.failure.undone
                    assert "its init was killed during set-up" in ran.failure.text, ran.failure
                lab.ground.is_as(lab.clean)
            except AssertionError as e:
                wrong.append(f"{instead} in the place of call {at}, {flag.read_text()}: {e}")
                lab.ground.clear()
        if not flag.read_text():
            assert at > 30
            return wrong
    return wrong


def test_whichever_call_of_a_list_fails_all_is_undone_and_told() -> None:
    warm()
    wrong = in_worlds(list_sweep)
    assert wrong == [], "\n\n".join(wrong)


def no_programs() -> None:
    """As on a processor for which there are none."""
    init.program = lambda *_, **__: None  # type: ignore[assignment]
    trampoline.program = lambda _: None  # type: ignore[assignment]


def without_programs(shape: Any) -> object:
    """The shape of a lab but for the command lines of what runs there: a fork keeps that of what it is a fork of."""
    return {name: seen[:-1] if name.startswith("vtopo.") else seen for name, seen in shape.items()}


@pytest.mark.parametrize("name", ["limits", "life"])
def test_without_small_programs_forks_do_the_same(name: str, world: World) -> None:
    def without() -> str:
        ground = apart()
        lab, edited = both(LABS[name], ground.lab)
        ground.learn(lab, edited)
        before = ground.left()
        ran = ground.up(lab, first=no_programs)
        assert ran is not None
        assert ran.failure is None, ran.failure
        assert without_programs(ground.shape()) == without_programs(ground.lab_shape)
        assert list(Path("/run/vtopo", ground.lab).glob("vtopo-*")) == []
        ground.must_down()
        ground.is_as(before)
        return "as with them"

    warm()
    assert forked(without, world).value == "as with them"


@pytest.mark.parametrize("first", [no_programs, lambda: None], ids=["forks", "programs"])
def test_a_daemon_is_no_more_than_its_hosts_root(first: Callable[[], None], world: World) -> None:
    text = 'host a { map uid 0 -> 1000 count 1; run ["sleep", "1009"] }\n'

    def daemons_and_inits() -> tuple[set[str], set[str]]:
        ground = apart()
        lab, _ = both(SweepLab(text, text), ground.lab)
        before = ground.left()
        ran = ground.up(lab, first=first)
        assert ran is not None
        assert ran.failure is None, ran.failure
        (name,) = ground.names()
        inode = os.stat(f"/run/netns/{name}").st_ino
        spaces: dict[bool, set[str]] = {True: set(), False: set()}
        for pid in (p.name for p in Path("/proc").iterdir() if p.name.isdigit()):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == inode:
                    is_daemon = b"1009" in Path(f"/proc/{pid}/cmdline").read_bytes()
                    spaces[is_daemon].add(os.readlink(f"/proc/{pid}/ns/user"))
        ground.must_down()
        ground.is_as(before)
        assert os.readlink("/proc/self/ns/user") not in spaces[True]
        return spaces[True], spaces[False]

    warm()
    daemons, inits = forked(daemons_and_inits, world).value or (set(), {""})
    assert daemons == inits
    assert len(inits) == 1


def test_a_zygote_that_ends_while_a_list_is_under_way_leaves_nothing(world: World) -> None:
    """The process that set the host up waits for its ids then, and learns that nobody will give them."""

    def ends() -> str:
        ground = apart()
        lab, _ = both(LABS["limits"], ground.lab)
        before = ground.left()
        ran = ground.up(lab, first=partial(kill_at_maps, -signal.SIGKILL))
        assert ran is not None
        assert ran.failure is not None
        assert ran.failure.undone
        ground.is_as(before)
        return ran.failure.text

    warm()
    assert "killed by signal 9" in (forked(ends, world).value or "")


def kill_at_maps(number: int) -> None:
    """The zygotes end as they are to write the first map."""
    real = zygotes.program_path()
    program = STATE / "disturbed/vtopo/backends/zygote.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f"import os, sys\nsys.path.insert(0, {str(Path(real).parents[2])!r})\n"
        "from vtopo.backends import zygote_mapped\n"
        f"zygote_mapped.write_maps = lambda *_: os.kill(os.getpid(), {-number})\n"
        f"code = compile(open({real!r}).read(), {real!r}, 'exec')\n"
        f"exec(code, {{'__name__': '__main__', '__file__': {real!r}}})\n"
    )
    zygotes.program_path = lambda: str(program)
