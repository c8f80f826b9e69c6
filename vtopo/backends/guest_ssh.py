"""Commands in a guest by ssh(1), from the namespace of a neighbour: the machine itself has no way into a lab.

Of the caller's own ssh nothing takes part: no configuration, agent, key or known host. The guest's host key is taken
at the first login after its start, and has to stay the same until the next.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import IO

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.diskfolder import known_hosts
from vtopo.backends.enter import environment
from vtopo.backends.forwarding import forwarded
from vtopo.backends.guest_commands import GivenUpError, Write
from vtopo.backends.places import Places, place_name
from vtopo.backends.syscalls import CLONE_NEWNET, die_with_parent, setns
from vtopo.backends.threads import apart
from vtopo.compile.resources import Address, Domain, Resource
from vtopo.compile.resources.domains import Login
from vtopo.values import dataclass

_PATIENCE = 5.0  # seconds in which a server has to say that it is one
_LOOK = 0.1  # seconds between two looks at whether anybody still wants to know
_OWN_FAILURE = 255  # what ssh(1) ends with if it could not log in, or the connection broke
_OPTIONS = (
    *("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey"),
    *(
        "StrictHostKeyChecking=accept-new",
        "GlobalKnownHostsFile=/dev/null",
        "CheckHostIP=no",
        "UpdateHostKeys=no",
    ),
    *(
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ControlPath=none",
    ),
    *("LogLevel=ERROR", "EscapeChar=none", "ConnectTimeout=10", "ServerAliveInterval=15"),
)
_RUN = 't=$1; shift; trap : HUP INT TERM USR1 USR2; (export VTOPO_EXEC="$t"; exec "$@"); exit $?'
"""A shell that outlives its command tells a signal's number; the variable is how the command is found again."""
_SIGNAL = 'for p in /proc/[0-9]*; do grep -q "VTOPO_EXEC=$1" "$p/environ" && kill -"$2" "${p#/proc/}"; done 2>/dev/null'


@dataclass(frozen=True, slots=True)
class Way:
    """From where a guest is reached: the interface `device` of `netns`, which has the address `source`."""

    netns: str
    device: str
    source: str
    address: str


def ways(login: Login, resources: Mapping[str, Resource]) -> Iterator[Way]:
    """All interfaces of running nodes on the subnets of a guest."""
    for wanted in map(ip_address, login.addresses):
        for r in resources.values():
            if isinstance(r, Address):
                here = ip_interface(r.address)
                if here.version == wanted.version and wanted in here.network and here.ip != wanted:
                    yield Way(r.netns, r.device, str(here.ip), str(wanted))


def unusable(login: Login) -> str | None:
    """Why this machine cannot log in so; None if nothing says so."""
    if shutil.which("ssh") is None:
        return "`ssh` needs the program ssh (Debian package openssh-client)"
    try:
        status = os.stat(login.key)  # noqa: PTH116
    except OSError as e:
        return f"the key of `ssh`: {login.key}: {e.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"the key of `ssh`: {login.key} is no file"
    if status.st_mode & 0o077:
        return (
            f"the key of `ssh`: others may read {login.key}, so ssh would not use it; `chmod 600` mends that"
        )
    return None


class Ssh:
    """Commands in the guest of `domain`; `resources` and `handles` are the running lab's, `folder` has its disks."""

    def __init__(
        self,
        lab: str,
        domain: Domain,
        resources: Mapping[str, Resource],
        handles: Mapping[str, Handle],
        folder: Path,
    ) -> None:
        self._domain = domain
        self._ways = tuple(ways(domain.ssh, resources))
        self._places = Places(lab)
        self._places.renew(handles)
        self._folder = folder

    def session(self, argv: Sequence[str], env: Sequence[str] = ()) -> int:
        """Run a command with this process' own stdin, stdout and stderr; its exit status as a shell tells it.

        On a terminal it has one there; otherwise SIGTERM and the like are passed on. BackendError says why nobody
        can log in.
        """
        tty = os.isatty(0) and os.isatty(1)
        token = secrets.token_hex(12)
        with self._open() as (way, fd), tempfile.NamedTemporaryFile() as log:
            client = self._client(way, fd, _remote(_RUN, token, *_command(argv, env)), log.name, tty=tty)
            with contextlib.nullcontext() if tty else self._passing_on(client, way, fd, token):
                status = client.wait()
            return self._status(status, Path(log.name))

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Sequence[str] = (),
        write: Write = lambda _, __: None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> int:
        """Run a command without input; its exit status. GivenUpError once `go_on` says no: it is told to end then."""
        token = secrets.token_hex(12)
        pipe = subprocess.PIPE
        with self._open() as (way, fd), tempfile.NamedTemporaryFile() as log:
            words = _remote(_RUN, token, *_command(argv, env))
            with self._client(
                way, fd, words, log.name, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
            ) as client:
                try:
                    _read(client, write, go_on)
                except BaseException:
                    self._signal(way, fd, token, "TERM")
                    client.kill()
                    raise
            return self._status(client.wait(), Path(log.name))

    def _status(self, status: int, log: Path) -> int:
        said = " ".join(log.read_text(errors="replace").split())
        if status == _OWN_FAILURE and said:
            login = self._domain.ssh
            raise BackendError(
                f"`{self._domain.node}`: ssh does not log in as {login.user} with {login.key}: {said[-400:]}"
            )
        return 128 - status if status < 0 else status

    # The connection

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Way, int]]:
        """A way by which a server of the guest answers, and its namespace."""
        try:
            yield apart(self._find)
        finally:
            self._places.close()

    def _find(self) -> tuple[Way, int]:
        node, port = self._domain.node, self._domain.ssh.port
        missing = ""
        for way in self._ways:
            try:
                place = self._places.enter(way.netns)
                _greeted(way, port, {nic.mac for nic in self._domain.nics})
            except OSError as e:
                reason = (e.strerror or str(e)).lower()
                missing = f"{way.address} port {port}, asked from `{place_name(way.netns)}`: {reason}"
                continue
            return way, place.fd
        if not missing:
            raise BackendError(
                f"`{node}` cannot be reached by ssh: no host or container of the lab has an address on a subnet of "
                f"its; link one to it, or leave `ssh` out and install qemu-guest-agent there"
            )
        raise BackendError(
            f"`{node}` cannot be reached by ssh: {missing}; `vtopo console {node}` shows what goes on there"
        )

    def _client(
        self,
        way: Way,
        fd: int,
        words: str,
        log: str,
        *,
        tty: bool = False,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        login = self._domain.ssh
        node = self._domain.node
        options = (*_OPTIONS, f"HostKeyAlias={node}", f"UserKnownHostsFile={known_hosts(node)}")
        command = [
            *("ssh", "-F", "none", "-E", log, "-t" if tty else "-T"),
            *(word for option in options for word in ("-o", option)),
            *("-B", way.device, "-b", way.source, "-l", login.user, "-p", str(login.port)),
            *("-i", login.key.replace("%", "%%"), "--", way.address, words),
        ]

        def enter() -> None:
            die_with_parent()
            setns(fd, CLONE_NEWNET)

        try:
            return subprocess.Popen(
                command,
                cwd=self._folder,  # that of the known hosts, whose name no option could quote
                env=environment(),
                preexec_fn=enter,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except FileNotFoundError as e:
            raise BackendError(unusable(login) or f"the folder {self._folder} is gone") from e

    @contextlib.contextmanager
    def _passing_on(self, client: subprocess.Popen[bytes], way: Way, fd: int, token: str) -> Iterator[None]:
        """Pass signals on to the command; a second one ends the connection."""
        under_way: list[threading.Thread] = []

        def send(number: int) -> None:
            if under_way:
                client.terminate()
                return
            name = signal.Signals(number).name.removeprefix("SIG")
            under_way.append(threading.Thread(target=self._signal, args=(way, fd, token, name)))
            under_way[0].start()

        try:
            with forwarded(send):
                yield
        finally:
            for thread in under_way:
                thread.join()

    def _signal(self, way: Way, fd: int, token: str, name: str) -> None:
        """Send a signal to a command, and to what it has started, by another login."""
        null = subprocess.DEVNULL
        with contextlib.suppress(BackendError, subprocess.TimeoutExpired):
            words = _remote(_SIGNAL, token, name)
            with self._client(way, fd, words, os.devnull, stdin=null, stdout=null, stderr=null) as client:
                try:
                    client.wait(10 * _PATIENCE)
                finally:
                    client.kill()


def _remote(script: str, *words: str) -> str:
    """What the guest's shell is told: each word is quoted, so none can be taken for another's end."""
    return shlex.join(["exec", "/bin/sh", "-c", script, "vtopo", *words])


def _command(argv: Sequence[str], env: Sequence[str]) -> Sequence[str]:
    return ["env", *env, *argv] if env else argv


def _greeted(way: Way, port: int, macs: set[str]) -> None:
    """OSError unless an ssh server answers, at one of these MACs; called in the way's namespace.

    Two segments of a lab may have the same addresses: the ARP table tells which of them this was.
    """
    family = socket.AF_INET6 if ":" in way.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(_PATIENCE)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.device.encode())
        one.bind((way.source, 0))
        try:
            one.connect((way.address, port))
            hello = one.recv(4)
        except TimeoutError as e:
            raise OSError(0, "no answer") from e
    if hello != b"SSH-":  # RFC 4253, 4.2
        raise OSError(0, "what answers there is no ssh server")
    if family == socket.AF_INET and (mac := _mac_of(way)) is not None and mac not in macs:
        raise OSError(0, "another node of the lab answers there")


def _mac_of(way: Way) -> str | None:
    for line in Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]:
        address, _, _, mac, _, device = line.split()
        if (address, device) == (way.address, way.device):
            return mac.lower()
    return None


def _read(client: subprocess.Popen[bytes], write: Write, go_on: Callable[[], bool]) -> None:
    """Pass output on until both its ends are closed."""
    assert client.stdout is not None
    assert client.stderr is not None
    streams: dict[IO[bytes], int] = {client.stdout: 1, client.stderr: 2}
    while streams:
        if not go_on():
            raise GivenUpError
        for stream in select.select(list(streams), [], [], _LOOK)[0]:
            if part := os.read(stream.fileno(), 1 << 16):
                write(streams[stream], part)
            else:
                del streams[stream]
