"""Makes hosts with a user namespace, in which root is whoever the lab says; what its own root may do, that one does.

A new user namespace cannot be left again, so this takes a process of its own: it enters it, makes the other namespaces
in it, which the kernel then holds to be that namespace's, and its child in these sets the host up and becomes its
first process. A fork of the zygote would cost more than all that it does; where there is the small program for lists of
system calls (trampoline.py), that is started, and given all of this as a list.
"""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: SIM105

from __future__ import annotations

import _socket
import errno
import os

from vtopo.backends import zygote_list
from vtopo.backends.zygote_calls import (
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_SAFE,
    SYS_PIVOT_ROOT,
    TTY,
    AtOnce,
    SetupError,
    attach,
    clone_tree,
    die_with_parent,
    end,
    libc,
    mount,
    refused,
    signal,
    step,
)
from vtopo.backends.zygote_inside import MASKED, Host, become_init, finish, mount_sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vtopo.backends.zygote_server import Zygote

    _Doors = Sequence[tuple[int, int]]
    _Started = tuple[int, Callable[[bytes], SetupError]]
    """The pid of the process between, and what tells in words what it says of a failure."""


def root_ids(host: Host) -> tuple[int, int]:
    """Which ids the host's root has outside."""
    found = []
    for text in (host.uids, host.gids):
        lines = [[int(word) for word in line.split()] for line in text.splitlines()]
        found.append(next((outside - inside for inside, outside, _ in lines if inside == 0), 0))
    return found[0], found[1]


def has_tty(z: Zygote, host: Host) -> bool:
    """Whether the host's ids include the group of terminals."""
    lines = [
        [int(word) for word in line.split()] for line in (host.gids or all_ids(z, "gid_map")).splitlines()
    ]
    return any(first <= TTY < first + count for first, _, count in lines)


def all_ids(z: Zygote, name: str) -> str:
    """All ids that this user namespace has, each as itself, as /proc/PID/uid_map or gid_map takes them."""
    if name not in z.ids:
        fd = os.open(f"self/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=z.proc)
        lines = [line.split() for line in os.read(fd, 1 << 16).decode().splitlines()]
        os.close(fd)
        z.ids[name] = "\n".join(f"{first} {first} {count}" for first, _, count in lines)
    return z.ids[name]


def isolate(z: Zygote, host: Host) -> int:
    """The pid of the new host's init."""
    z.go_home()
    if host.has("mnt"):
        z.show_proc_and_sys()
    tree = z.tree_of(host.rootfs) if host.rootfs else -1
    z.leave_home(host, host.flags & CLONE_NEWNS)
    if host.has("mnt"):
        z.build(host, tree, owner_of(z, host) if host.uids or host.gids else -1)
        if not host.has("pid"):
            mount("proc", "root/proc", "proc", MS_SAFE)
        if not host.has("net"):
            mount_sys("root/sys")
        os.chdir("root")
    else:
        z.to_machine()
    return _start(z, host)


def owner_of(z: Zygote, host: Host) -> int:
    """A user namespace with the host's ids, by which the machine's files are shown to it."""
    key = f"{host.uids}\0{host.gids}"
    if key not in z.owners:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent()
                libc.unshare(CLONE_NEWUSER)
                os.close(ours)
                os.write(theirs, b"y")
                signal.pause()
            finally:
                os._exit(0)
        os.close(theirs)
        try:
            if os.read(ours, 1) != b"y":
                raise SetupError(errno.ECHILD, "the process of a user namespace was killed during set-up")
            write_maps(z, host, pid)
            z.owners[key] = os.open(f"{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=z.proc)
        finally:
            os.close(ours)
            end(pid)
    return z.owners[key]


def write_maps(z: Zygote, host: Host, pid: int) -> None:
    """Give a user namespace the host's ids (user_namespaces(7)); without any, all that this one has."""
    for name, text in (("uid_map", host.uids), ("gid_map", host.gids)):
        text = text or all_ids(z, name)
        fd = os.open(f"{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=z.proc)
        try:
            os.write(fd, text.encode())
        except OSError as e:
            raise SetupError(e.errno, f"writing its {name.replace('_', ' ')}: {e.strerror}") from e
        finally:
            os.close(fd)


def _set_up(do: Forked | zygote_list.Listed, host: Host, devices: Sequence[str]) -> None:
    """Enter a new user namespace, make the others in it, and in these, as their first process, all else.

    The working folder is the host's root. The machine's tree stays on top of it there until the host has its /proc: the
    kernel lets a user namespace mount a /proc and a /sys only while it sees one already: those in `seen`, which go with
    the rest.
    """
    do.die_with_parent()
    if host.has("cgroup"):
        # It begins where this process is; and it is the machine's, not the user namespace's: whose it is, may mount the
        # control groups, and as their owner change what limits the host.
        do.enter_groups()
        do.unshare("unshare of the cgroup namespace", CLONE_NEWCGROUP)
        do.leave_groups()  # nothing of the set-up counts for the host
    do.unshare("unshare of the user namespace", CLONE_NEWUSER)
    do.ask(_MAPS)
    do.become_root()
    do.die_with_parent()
    do.unshare("unshare", host.flags & ~(CLONE_NEWUSER | CLONE_NEWCGROUP))
    if host.has("mnt"):
        # What came with the mount namespace is locked together; a copy of it is not.
        do.copy_here()
        if host.has("net"):
            mount_sys("sys", do)
        do.pivot_here()
    do.fork()
    if host.has("mnt"):
        if host.has("pid"):
            do.mount("proc", "/proc", "proc", MS_SAFE, advice=MASKED.format("/proc"))
        do.leave_machine()
    finish(host, devices, do, sys_is_there=True)
    do.become_init()


_MAPS = b"maps?"
"""What the new process asks for; then come the pid of the host's init, of so many bytes, and the init's own answer."""
_PID_SIZE = 8


def _start(z: Zygote, host: Host) -> int:
    """Start the process that sets the host up; the pid of the host's init once all is done."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        starts = _start_list if z.caller >= 0 else _start_fork
        doors = z.doors(host) if host.has("cgroup") else []
        try:
            between, failure = starts(z, host, theirs, doors)
        finally:
            for _, door in doors:
                os.close(door)
        theirs.close()
        return _follow(z, host, between, ours, failure)
    finally:
        theirs.close()
        ours.close()


def _start_list(z: Zygote, host: Host, wire: _socket.socket, doors: _Doors) -> _Started:
    """By the small program."""
    key = (host.kinds, host.uids, host.gids, len(doors))
    listed = z.lists.get(key)
    if listed is None:
        listed = zygote_list.Listed(z.machine_name, z.exists, has_tty(z, host), len(doors))
        _set_up(listed, host, z.devices)
        listed.close()
        z.lists[key] = listed
    sheet = listed.sheet(host.hostname)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, sheet, 0),
            *((os.POSIX_SPAWN_DUP2, z.null, fd) for fd in (zygote_list.NULL, 2)),
            (os.POSIX_SPAWN_DUP2, wire.fileno(), zygote_list.WIRE),
            *((os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(sum(doors, ()), zygote_list.DOORS)),
        ]
        # Where the lab's tmpfs is in the place of /proc, there is one at `seen`.
        proc = "/proc/seen/proc" if host.has("mnt") else "/proc"
        path = f"{proc}/self/fd/{z.caller}"
        pid = os.posix_spawn(path, [host.title(z.lab)], host.environ(), file_actions=actions)
    except OSError as e:
        raise refused(e.errno or 0, "start of the process that sets it up") from e
    finally:
        os.close(sheet)
    return pid, listed.failure


def _start_fork(z: Zygote, host: Host, wire: _socket.socket, doors: _Doors) -> _Started:
    """By a fork of this process."""
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            forked = Forked(z, host, wire, doors)
            if os.getppid() == zygote:
                _set_up(forked, host, z.devices)
        except SetupError as e:
            wire.send(f"failed {e.args[0]} {e.args[1]}".encode())
        except OSError as e:
            wire.send(f"failed {e.errno} {e.filename or 'set-up'}: {e.strerror}".encode())
        finally:
            os._exit(1)
    return pid, _in_words


def _in_words(told: bytes) -> SetupError:
    _, number, text = told.decode(errors="replace").split(" ", 2)
    return SetupError(int(number), text)


def _follow(
    z: Zygote, host: Host, between: int, wire: _socket.socket, failure: Callable[[bytes], SetupError]
) -> int:
    """Write the maps when that is asked for; the pid of the init once it has answered."""
    pid, answered = 0, False
    try:
        while not (pid and answered):
            told = _hear(wire)
            if told == _MAPS:
                try:
                    write_maps(z, host, between)
                    wire.send(b"y")
                except (FileNotFoundError, BrokenPipeError, ConnectionResetError):
                    pass  # it has ended, and what it said last is still to be heard
            elif len(told) == _PID_SIZE:
                pid = int.from_bytes(told, "little")
            elif told == zygote_list.ANSWER:
                answered = True
            elif told:
                raise failure(told)
            else:
                raise SetupError(errno.ECHILD, "its init was killed during set-up")
        return pid
    except BaseException:
        if pid:  # the process between has ended, or does so with the socket
            end(pid)
        raise


def _hear(wire: _socket.socket) -> bytes:
    """The next message; empty if there comes none any more."""
    try:
        return wire.recv(4096)
    except ConnectionResetError:  # the other has ended without hearing all; what it said comes after this
        return wire.recv(4096)


class Forked(AtOnce):
    """The same calls as in a list, made at once, in a fork of the zygote."""

    def __init__(self, z: Zygote, host: Host, wire: _socket.socket, doors: _Doors) -> None:
        self._z, self._host, self._wire, self._doors = z, host, wire, doors

    def die_with_parent(self) -> None:
        """PR_SET_PDEATHSIG(2const)."""
        die_with_parent()

    def unshare(self, what: str, flags: int) -> None:
        """unshare(2)."""
        step(what, libc.unshare(flags))

    def ask(self, question: bytes) -> None:
        """Say this to the zygote, and wait for its answer."""
        self._wire.send(question)
        if not self._wire.recv(8):
            os._exit(1)  # it has ended

    def become_root(self) -> None:
        """Be the root of the user namespace."""
        try:
            os.setgroups([])
        except PermissionError:
            pass  # one above does not let go of groups (user_namespaces(7), setgroups)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    def copy_here(self) -> None:
        """A copy of all that is mounted in the working folder, on top of it, as the working folder."""
        tree = clone_tree(".", AT_RECURSIVE)
        attach(tree, ".")
        os.fchdir(tree)
        os.close(tree)

    def pivot_here(self) -> None:
        """Have the working folder as root; what was it stays on top of it there."""
        step("pivot_root", libc.syscall(SYS_PIVOT_ROOT[self._z.machine_name], b".", b"."))

    def fork(self) -> None:
        """Go on in a child; this process tells the zygote its pid, and ends."""
        pid = os.fork()
        if pid:
            self._wire.send(pid.to_bytes(_PID_SIZE, "little"))
            os._exit(0)

    def enter_groups(self) -> None:
        """Be in the host's control groups."""
        for _, door in self._doors:
            os.write(door, b"0")

    def leave_groups(self) -> None:
        """Be where the zygote is again."""
        for here, _ in self._doors:
            os.write(here, b"0")

    def leave_machine(self) -> None:
        """Detach what is in the way in the working folder: the machine's tree."""
        step("umount of the machine's tree", libc.umount2(b".", MNT_DETACH))
        os.chdir("/")

    def become_init(self) -> None:
        """Be the host's first process, which tells the zygote so."""
        become_init(self._z.still, self._host.title(self._z.lab), self._host.environ(), self._wire.fileno())
