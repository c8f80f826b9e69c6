"""Commands in a guest by its agent: their output as it comes, their input, their end.

An agent that is asked for a command's output gives all of it in one message at the end, and libvirt gives up an
agent for good whose message is too large. So the guest's shell writes output to files, which are read meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from vtopo.backends.agent import Agent, AgentRefusedError, AgentSilentError
from vtopo.backends.enter import NOT_EXECUTABLE, NOT_FOUND

Write: TypeAlias = Callable[[int, bytes], None]
"""Takes a piece of output: 1 or 2, as file descriptors, and the bytes."""

_SHELL = "/bin/sh"
_SCRIPT = 'umask 077; p=$1; shift; >"$p.1" && >"$p.2" || exit 125; exec "$@" <{source} >"$p.1" 2>"$p.2"'
_NO_ROOM = 125
_SOON, _LATER = 0.02, 0.5  # seconds between two looks, at first and at most
_KILLED = 128  # and the signal's number, as shells have it


class GivenUpError(Exception):
    """The command did not end in time, or whoever waited for it stopped; it was told to end."""


def _nothing(_: int, __: bytes) -> None:
    """Nobody wants the output."""


def run(
    agent: Agent,
    argv: Sequence[str],
    *,
    env: Sequence[str] = (),
    stdin: bytes = b"",
    write: Write = _nothing,
    go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Run a command in the guest; its exit status, 127 if it is not found, 128 and the signal if that ended it.

    AgentSilentError without an agent, AgentRefusedError if it runs no commands, GivenUpError once `go_on` says no.
    """
    place = f"/tmp/.vtopo-{secrets.token_hex(12)}"  # noqa: S108  in the guest, of a name that nobody can guess
    try:
        if stdin:
            _put(agent, f"{place}.0", stdin)
        command = ["env", *env, *argv] if env else list(argv)
        script = _SCRIPT.format(source='"$p.0"' if stdin else "/dev/null")
        try:
            pid = agent.start(_SHELL, ("-c", script, "sh", place, *command))
        except AgentRefusedError as e:
            if "No such file" not in str(e):
                raise
            return _captured(agent, argv, write, go_on)
        try:
            return _followed(agent, pid, place, write, go_on)
        except BaseException:
            with contextlib.suppress(AgentSilentError, AgentRefusedError):
                agent.start("kill", ("-TERM", str(pid)))
            raise
    finally:
        with contextlib.suppress(AgentSilentError, AgentRefusedError):
            agent.start("rm", ("-f", *(f"{place}.{n}" for n in (0, 1, 2))))


def _put(agent: Agent, path: str, data: bytes) -> None:
    handle = agent.open(path, "w")
    try:
        agent.write(handle, data)
    finally:
        agent.close(handle)


def _followed(agent: Agent, pid: int, place: str, write: Write, go_on: Callable[[], bool]) -> int:
    """Pass the output on until the command has ended."""
    handles: list[int] = []
    try:
        for _ in _patiently(go_on):
            ended = agent.status(pid)  # before the output: what there is of it then is all
            if not handles:
                with contextlib.suppress(AgentRefusedError):  # the shell has not got that far
                    handles = [agent.open(f"{place}.{stream}", "r") for stream in (1, 2)]
            while go_on() and any(_pass_on(agent, n, handle, write) for n, handle in enumerate(handles, 1)):
                pass
            if ended["exited"]:
                status = _status(ended)
                if status == _NO_ROOM and not handles:
                    raise AgentRefusedError("the guest's /tmp cannot be written")
                return status
        raise GivenUpError
    finally:
        with contextlib.suppress(AgentSilentError, AgentRefusedError):
            for handle in handles:
                agent.close(handle)


def _pass_on(agent: Agent, stream: int, handle: int, write: Write) -> bool:
    data = agent.read(handle)
    if data:
        write(stream, data)
    return bool(data)


def _patiently(go_on: Callable[[], bool]) -> Iterator[None]:
    """Again and again, with longer and longer pauses, for as long as it goes on."""
    pause = _SOON
    while go_on():
        yield
        time.sleep(pause)
        pause = min(pause * 1.5, _LATER)


def _captured(agent: Agent, argv: Sequence[str], write: Write, go_on: Callable[[], bool]) -> int:
    """Where there is no shell: the output comes with the end."""
    try:
        pid = agent.start(argv[0], tuple(argv[1:]), capture=True)
    except AgentRefusedError as e:
        if "No such file" in str(e):
            write(2, f"{shlex.quote(argv[0])}: not found in the guest\n".encode())
            return NOT_FOUND
        if "Permission denied" in str(e):
            return NOT_EXECUTABLE
        raise
    for _ in _patiently(go_on):
        ended = agent.status(pid)
        if ended["exited"]:
            for stream, key in ((1, "out-data"), (2, "err-data")):
                if key in ended:
                    write(stream, base64.b64decode(ended[key]))
            return _status(ended)
    raise GivenUpError


def _status(ended: object) -> int:
    assert isinstance(ended, dict)
    return _KILLED + int(ended["signal"]) if "signal" in ended else int(ended.get("exitcode", 0))
