"""Commands inside a host: in all its namespaces, with the caller's terminal and the command's own exit status."""

# What is loaded here delays every command.
# ruff: noqa: SIM105

from __future__ import annotations

import errno
import os
import select
import sys
import time

from vtopo.backends.awaited import PASSED_ON, Held
from vtopo.backends.execute import execute
from vtopo.backends.foreign import CLONE_NEWUSER, be_root, foreign
from vtopo.backends.handle import BackendError, Handle
from vtopo.backends.processes import open_verified, send
from vtopo.backends.syscalls import die_with_parent, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
else:
    import _signal as signal  # what makes enums of its numbers takes as long to load as all else here

NOT_FOUND, NOT_EXECUTABLE, NOT_ENTERED, TIMED_OUT = 127, 126, 125, 124  # as env(1) and timeout(1) say it
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FROM_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)


class _Command:
    """What to be in the host; no dataclass, as a Handle is none."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        stdio: tuple[int, int, int] = (0, 1, 2),
        *,
        own_session: bool = False,
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.stdio = stdio
        self.own_session = own_session


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment: the terminal's and the language's variables of the caller, the rest as after a login."""
    kept = ("TERM", "COLORTERM", "LANG", "LANGUAGE")
    env = {k: v for k, v in os.environ.items() if k in kept or k.startswith("LC_")}
    return {**env, **login(), **(extra or {})}


def login() -> dict[str, str]:
    """What a login of root sets."""
    return {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}


def run_in_host(
    handle: Handle, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str = "/"
) -> int:
    """Run a command with this process' own stdin, stdout and stderr; its exit status as a shell tells it.

    128 + n: it died of signal n; 127: not found; 126: not executable; 125: the host could not be entered.
    BackendError if the host does not run. SIGTERM and the like are passed on; keys such as Ctrl-C reach
    the command through the terminal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    command = _Command(argv, environment(env), cwd)
    pidfd = None

    def pass_on(number: int) -> None:
        if pidfd is not None:
            send(pidfd, number)

    held = Held()
    keyboard = [(number, signal.signal(number, signal.SIG_IGN)) for number in _FROM_KEYBOARD]
    try:
        pid, pidfd = _start(handle, command)
        try:
            return _told(held.wait(pid, pass_on))
        finally:
            _take_terminal_back()
            if pidfd is not None:
                os.close(pidfd)
    finally:
        for number, handler in keyboard:
            signal.signal(number, handler)
        held.release()


def capture_in_host(handle: Handle, argv: Sequence[str], timeout: float) -> tuple[int, str]:
    """Run a command without input; its exit status, 124 after `timeout` seconds, and all that it printed."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            command = _Command(argv, environment(), "/", (null, theirs, theirs), own_session=True)
            pid, pidfd = _start(handle, command)
        finally:
            os.close(null)
            os.close(theirs)
        try:
            return _collect(ours, pid, pidfd, timeout)
        finally:
            if pidfd is not None:
                os.close(pidfd)
    finally:
        os.close(ours)


def _collect(pipe: int, pid: int, pidfd: int | None, timeout: float) -> tuple[int, str]:
    """Read until the command ends, even if something that it left running keeps the pipe open."""
    parts: list[bytes] = []
    end = time.monotonic() + timeout
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if pidfd is not None:
        poll.register(pidfd, select.POLLIN)
    timed_out = False
    while True:
        left = end - time.monotonic()
        ready = dict(poll.poll(max(left, 0) * 1000))
        if pipe in ready:
            if part := os.read(pipe, 1 << 16):
                parts.append(part)
                if left > 0:
                    continue
            else:
                poll.unregister(pipe)
                if pidfd is None:
                    break
        elif pidfd is not None and pidfd in ready:
            break
        if left <= 0:
            timed_out = True
            if pidfd is not None:
                send(pidfd, signal.SIGKILL)
            break
    status = _wait(pid)
    os.set_blocking(pipe, False)
    try:
        while part := os.read(pipe, 1 << 16):
            parts.append(part)
    except BlockingIOError:
        pass
    return TIMED_OUT if timed_out else status, b"".join(parts).decode(errors="replace")


def _start(handle: Handle, command: _Command) -> tuple[int, int | None]:
    """Fork a process that enters the host, and in it the command; the first's pid and the second's pidfd."""
    host = open_verified(handle)
    if host is None:
        raise BackendError("the host is not running; `vtopo status` tells, and `vtopo up` starts it again")
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(ours)
                os._exit(_between(handle.pid or 0, host, theirs, command))
            except BaseException as e:
                _say(command, f"vtopo: the host cannot be entered: {e}")
            finally:
                os._exit(NOT_ENTERED)
        os.close(theirs)
        theirs = -1
        told = os.read(ours, 32)
        pidfd = None
        try:
            pidfd = os.pidfd_open(int(told)) if told else None
        except ProcessLookupError:
            pass
        return pid, pidfd
    finally:
        os.close(host)
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def _between(pid: int, host: int, pipe: int, command: _Command) -> int:
    """Enter the host, start the command (only a child is in the pid namespace), tell its pid, and wait for it."""
    die_with_parent()
    for number in (*_FROM_KEYBOARD, *PASSED_ON):
        signal.signal(number, signal.SIG_IGN)
    # Seen from here; only the command itself goes through: this process is not the host's to pay for.
    doors = _doors(pid)
    flags = foreign(pid)
    if flags:
        setns(host, flags)
    if flags & CLONE_NEWUSER:
        be_root()
        die_with_parent()
    child = os.fork()
    if child == 0:
        try:
            for fd in doors:
                os.write(fd, b"0")
            os._exit(_become(command))
        except OSError as e:
            _say(command, f"vtopo: the host's cgroup cannot be entered: {e}")
        finally:
            os._exit(NOT_ENTERED)
    os.write(pipe, str(child).encode())
    os.close(pipe)
    return _wait(child)


def _doors(pid: int) -> Sequence[int]:
    """The control groups that vtopo put a host in, open to be entered; few hosts have any, and this is loaded then."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:  # noqa: PTH123
        if "vtopo" not in f.read():
            return ()
    from vtopo.backends.cgroup_paths import doors

    return doors(pid)


def _become(command: _Command) -> int:
    """Be the command; comes back only with an exit status that says why not."""
    die_with_parent()
    for number in (*_FROM_KEYBOARD, *PASSED_ON, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup(1) wants it
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if command.own_session:
        os.setsid()
    for target, fd in enumerate(command.stdio):
        os.dup2(fd, target)
    try:
        os.chdir(command.cwd)
    except OSError as e:
        _say(command, f"vtopo: {command.cwd}: {e.strerror}")
        return NOT_ENTERED
    try:
        execute(list(command.argv), dict(command.env))
    except OSError as e:
        name = command.argv[0]
        missing = e.errno in (errno.ENOENT, errno.ENOTDIR)
        words = "command not found" if missing and "/" not in name else e.strerror
        _say(command, f"vtopo: {name}: {words}")
        return NOT_FOUND if missing else NOT_EXECUTABLE


def _say(command: _Command, text: str) -> None:
    os.write(2 if command.stdio == (0, 1, 2) else command.stdio[2], f"{text}\n".encode())


def _wait(pid: int) -> int:
    """The exit status of a child, as a shell tells it."""
    return _told(os.waitpid(pid, 0)[1])


def _told(status: int) -> int:
    """A wait status, as a shell tells it."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _take_terminal_back() -> None:
    """A shell in the host made itself the terminal's foreground; it could not name our group to undo that."""
    try:
        if os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp():
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            try:
                os.tcsetpgrp(0, os.getpgrp())
            finally:
                signal.signal(signal.SIGTTOU, before)
    except OSError:  # no terminal any more
        pass
