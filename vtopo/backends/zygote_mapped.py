"""Makes hosts with a user namespace, in which root is whoever the lab says; what its own root may do, that one does.

A new user namespace cannot be left again, so this takes a process of its own: it enters it, makes the other namespaces
in it, which the kernel then holds to be that namespace's, starts the init, lets go of the machine's tree, and ends.
"""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: SIM105

from __future__ import annotations

import errno
import os
import signal

from vtopo.backends.zygote_calls import (
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_SAFE,
    SYS_PIVOT_ROOT,
    SetupError,
    attach,
    clone_tree,
    die_with_parent,
    libc,
    mount,
    step,
)
from vtopo.backends.zygote_inside import Host, finish, mount_sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vtopo.backends.zygote import Zygote

# Folders of a host's root that are its own root's, whoever owns them on the machine.
OWN_FOLDERS = (
    *(("etc", 0o755), ("run", 0o755), ("run/lock", 0o1777), ("tmp", 0o1777), ("dev", 0o755)),
    ("root", 0o700),
)


def root_ids(host: Host) -> tuple[int, int]:
    """Which ids the host's root has outside."""
    found = []
    for text in (host.uids, host.gids):
        lines = [[int(word) for word in line.split()] for line in text.splitlines()]
        found.append(next((outside - inside for inside, outside, _ in lines if inside == 0), 0))
    return found[0], found[1]


def isolate(z: Zygote, host: Host) -> int:
    """The pid of the new host's init."""
    z.go_home()
    tree = z.tree_of(host.rootfs) if host.rootfs else -1
    z.leave_home(host, host.flags & (CLONE_NEWCGROUP | CLONE_NEWNS))
    if host.has("mnt"):
        z.build(host, tree, owner_of(z, host))
        if host.has("pid"):
            mount("proc", "seen/proc", "proc", MS_SAFE)
        else:
            mount("proc", "root/proc", "proc", MS_SAFE)
        if host.has("net"):
            mount("sysfs", "seen/sys", "sysfs", MS_SAFE)
        else:
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
            os.kill(pid, signal.SIGKILL)
    return z.owners[key]


def write_maps(z: Zygote, host: Host, pid: int) -> None:
    """Give a user namespace the host's ids (user_namespaces(7)); without any, all that this one has."""
    for name, text in (("uid_map", host.uids), ("gid_map", host.gids)):
        if not text:
            fd = os.open(f"self/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=z.proc)
            lines = [line.split() for line in os.read(fd, 1 << 16).decode().splitlines()]
            os.close(fd)
            text = "\n".join(f"{first} {first} {count}" for first, _, count in lines)
        fd = os.open(f"{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=z.proc)
        try:
            os.write(fd, text.encode())
        except OSError as e:
            raise SetupError(e.errno, f"writing its {name.replace('_', ' ')}: {e.strerror}") from e
        finally:
            os.close(fd)


def _start(z: Zygote, host: Host) -> int:
    told, tells = os.pipe()
    asked, asks = os.pipe()
    zygote = os.getpid()
    between = os.fork()
    if between == 0:
        try:
            die_with_parent()
            os.close(told)
            os.close(asks)
            if os.getppid() == zygote:
                _between(z, host, tells, asked)
        except SetupError as e:
            os.write(tells, f"failed {e.args[0]} {e.args[1]}\n".encode())
        except OSError as e:
            os.write(tells, f"failed {e.errno} {e.filename or 'set-up'}: {e.strerror}\n".encode())
        finally:
            os._exit(1)
    os.close(tells)
    os.close(asked)
    try:
        return _follow(z, host, between, told, asks)
    finally:
        os.close(told)
        os.close(asks)


def _follow(z: Zygote, host: Host, between: int, told: int, asks: int) -> int:
    """Write the maps when that is asked for; the pid of the init once all is done."""
    heard = b""
    pid = 0
    try:
        while part := os.read(told, 4096):
            *lines, heard = (heard + part).split(b"\n")
            for line in lines:
                verb, _, rest = line.decode(errors="replace").partition(" ")
                if verb == "map":
                    write_maps(z, host, between)
                    os.write(asks, b"y")
                elif verb == "pid":
                    pid = int(rest)
                elif verb == "done":
                    return pid
                else:
                    number, _, text = rest.partition(" ")
                    raise SetupError(int(number), text)
        raise SetupError(errno.ECHILD, "its init was killed during set-up")
    except BaseException:
        if pid:
            os.kill(pid, signal.SIGKILL)
        raise


def _between(z: Zygote, host: Host, tells: int, asked: int) -> None:
    """Enter a new user namespace, make the others in it, start the first process of all these, and finish them."""
    step("unshare of the user namespace", libc.unshare(CLONE_NEWUSER))
    os.write(tells, b"map \n")
    if os.read(asked, 1) != b"y":
        return
    become_root()
    die_with_parent()
    step("unshare", libc.unshare(host.flags & ~(CLONE_NEWUSER | CLONE_NEWCGROUP)))
    if host.has("mnt"):
        _own_root(host)
    os.write(tells, f"pid {z.start_init(host)}\n".encode())
    if host.has("mnt"):  # by now there is a /proc of its own
        step("umount of the machine's tree", libc.umount2(b".", MNT_DETACH))
        os.chdir("/")
    finish(host, z.devices, sys_is_there=True)
    os.write(tells, b"done \n")


def become_root() -> None:
    """Be the root of the user namespace that this process has entered."""
    try:
        os.setgroups([])
    except PermissionError:
        pass  # one above does not let go of groups (user_namespaces(7), setgroups)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _own_root(host: Host) -> None:
    """The tree in the working folder as root. The machine's stays on top of it there, until the host has its /proc.

    What came with the mount namespace is locked together; a copy of it is not. The kernel lets a user namespace mount
    a /proc and a /sys only while it sees one already: those in `seen`, which go with the rest.
    """
    tree = clone_tree(".", AT_RECURSIVE)
    attach(tree, ".")
    os.fchdir(tree)
    os.close(tree)
    if host.has("net"):
        mount_sys("sys")
    step("pivot_root", libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."))
