"""Makes a lab's hosts, one after the other, in a process that is small and quick to start (zygote.py).

It moves into new namespaces by unshare, sets them up, leaves a first process in them, and returns by setns. No
memory is copied on the way: a fork of even this small a Python costs the kernel more than all namespaces do.

It imports little, and of vtopo only what does the same. Its standard input is a socket of type SOCK_SEQPACKET to the
process that started it; a message is fields joined by NUL bytes. `likely`, and how many hosts there may be to make, may
come first, for what can be done before it is known which (zygote_nets.py). Then comes `base`, the lab's tmpfs and its
folders in the cgroup hierarchies, answered by `ready`; then any number of `hosts`, each host answered by `up` or
`failed`. It ends when the other end of the socket closes, and is killed when the thread that started it ends. The
environment holds the mark VTOPO_LAB, which a host's first process inherits.
"""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: PTH102, PTH103, PTH104, PTH123, PTH208, SIM105

from __future__ import annotations

import _socket
import errno
import os
import sys

from vtopo.backends import zygote_mapped
from vtopo.backends.cgroup_door import open_door
from vtopo.backends.trampoline import PROGRAM
from vtopo.backends.zygote_calls import (
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWNS,
    FLAGS,
    MNT_DETACH,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_REC,
    MS_SAFE,
    SetupError,
    attach,
    clone_tree,
    die_with_parent,
    end,
    libc,
    make_read_only,
    map_ids,
    mount,
    read_only_copy,
    refused,
    signal,
    step,
    write,
)
from vtopo.backends.zygote_inside import MASKED, Host, become_init, finish
from vtopo.backends.zygote_layers import (
    Disk,
    choose,
    copy_owner,
    escaped,
    give_to_root,
    is_gone,
    without_root,
)
from vtopo.backends.zygote_nets import SpareNets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vtopo.backends.zygote_list import Listed

# The program of a host's first process, in the skeleton; and one that mounts nothing, in the lab's tmpfs.
INIT, STILL = "/run/vtopo-init", "vtopo-init"
LAST = 40  # of the descriptors that what is started may be given: two for each hierarchy of cgroup v1
HOST = ".host"  # the end of a control group's name


class Zygote:
    """What all hosts of one lab have in common."""

    def __init__(self, lab: str, wire: _socket.socket) -> None:
        self.lab = lab
        self.wire = wire
        self.disks: list[Disk] = []
        self.proc = -1  # the machine's /proc, which is no longer mounted
        self.machine = -1  # the machine's root
        self.home: list[tuple[int, int]] = []  # this process' own namespaces with their flags
        self.away = 0  # flags of those that it is not in
        self.machine_mnt = -1
        self.groups: list[
            tuple[int, str]
        ] = []  # where this process is in a hierarchy, and the lab's folder there
        self.devices: list[str] = []  # to bind, where none can be made: without root
        self.options = ""  # of every overlay
        self.null = -1  # /dev/null, which the machine's tree has no more of
        self.still = -1
        self.caller = -1  # the small program for lists of system calls, where there is one
        self.lists: dict[object, Listed] = {}  # by what hosts have in common
        self.machine_name = os.uname().machine
        self.there: dict[str, bool] = {}  # what has been looked for in the machine's /proc
        self.shows_proc_and_sys = False
        self.owners: dict[str, int] = {}  # user namespaces by their ids
        self.ids: dict[str, str] = {}  # all that this one has, by the file that lists them
        self.mappable: dict[str, bool] = {}  # whether layers can be shown with other ids
        self.spare = SpareNets()

    def send(self, *fields: str) -> None:
        """One message to the process that started this one."""
        self.wire.send(os.fsencode("\0".join(fields)))

    def reserve(self) -> None:
        """Have nothing open from now on with a number that what is started is given: none of that has to move then."""
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        while os.dup(self.null) < LAST:
            pass

    def prepare(self, base: str, *groups: str) -> None:
        """Move into a private mount namespace with the machine's disks, read-only, and `base` as working folder.

        What stays out of it need not be copied into every host's namespace, and no mount made here
        ever shows on the machine. `groups` are pairs: where this process is in a cgroup hierarchy, and the lab's
        folder there.
        """
        self.machine = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.machine_mnt = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        for here, folder in zip(groups[::2], groups[1::2], strict=True):
            self.groups.append((open_door(here), folder))
        step("unshare of the mount namespace", libc.unshare(CLONE_NEWNS))
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
            self.disks, detach = choose(f.read())
        folders, self.devices = without_root(base)
        if folders:  # what the user namespace was given cannot be detached
            self.disks, detach = [Disk(path) for path in folders], []
            self.options = ",userxattr"
        self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for kind, flag in FLAGS.items():
            if kind == "user":
                continue
            try:
                self.home.append((os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag))
            except FileNotFoundError:
                pass  # this kernel has none of the kind
        tree = clone_tree(base, AT_RECURSIVE)
        for path in detach:
            libc.umount2(os.fsencode(path), MNT_DETACH)  # one that went with its parent is no error
        attach(tree, "/proc")
        os.close(tree)
        os.chdir("/proc")
        for disk in self.disks:
            disk.read_only = not self.can_overlay(escaped(disk.path))
        for path in ("/", *(disk.path for disk in self.disks if not folders)):
            try:
                make_read_only(path)
            except SetupError:
                if not is_gone(path):
                    raise
        try:
            self.still = os.open(STILL, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # there is none for this machine's processor
        if PROGRAM in os.listdir("."):
            self.caller = read_only_copy(PROGRAM)

    def can_overlay(self, lower: str) -> bool:
        """Whether overlayfs takes a folder as its lower layer (of vfat, for one, it does not)."""
        data = os.fsencode(f"lowerdir=skeleton:{lower}{self.options}")
        if libc.mount(b"vtopo", b"root", b"overlay", 0, data) < 0:
            return False
        step("umount of a trial overlay", libc.umount2(b"root", MNT_DETACH))
        return True

    def make(self, host: Host) -> None:
        """Make one host and tell what became of it."""
        pid = 0
        try:
            if host.has("user"):
                pid = zygote_mapped.isolate(self, host)
            else:
                net_is_ready = host.has("net") and bool(self.spare.nets)
                pid = self.isolate(host)
                finish(host, self.devices, net_is_ready=net_is_ready)
            self.send("up", host.index, str(pid), *self.identity(pid))
        except SetupError as e:
            self.send("failed", host.index, str(e.args[0]), e.args[1])
        except OSError as e:
            self.send("failed", host.index, str(e.errno), f"{e.filename or 'set-up'}: {e.strerror}")
        else:
            return
        if pid:
            end(pid)

    def isolate(self, host: Host) -> int:
        """Move into new namespaces and leave a first process there; its pid on the machine."""
        self.go_home()
        tree = self.tree_of(host.rootfs) if host.rootfs else -1
        self.leave_home(host, host.flags)
        if host.has("mnt"):
            self.build(host, tree)
            # As an initramfs hands over: the new root covers the old one, which nothing can reach any more.
            # pivot_root and an umount would end the same way, but the umount waits 10 ms for the kernel.
            os.chdir("root")
            mount(".", "/", None, MS_MOVE)
            os.chroot(".")
            os.chdir("/")
        else:
            self.to_machine()
        return self.start_init(host)

    def exists(self, path: str) -> bool:
        """Whether there is something at a path below /proc, on the machine."""
        if path not in self.there:
            try:
                os.stat(path.removeprefix("/proc/"), dir_fd=self.proc)
                self.there[path] = True
            except FileNotFoundError:
                self.there[path] = False
        return self.there[path]

    def show_proc_and_sys(self) -> None:
        """Have a /proc and a /sys in every mount namespace that is made from this one, for user namespaces to see."""
        if not self.shows_proc_and_sys:
            mount("proc", "/proc/seen/proc", "proc", MS_SAFE)
            mount("sysfs", "/proc/seen/sys", "sysfs", MS_SAFE)
            self.shows_proc_and_sys = True

    # Namespaces

    def leave_home(self, host: Host, flags: int) -> None:
        """Move into new namespaces of these kinds.

        A cgroup namespace begins where the process that makes it is: in the groups of its host, if it has any.
        """
        self.away |= flags
        if flags & CLONE_NEWCGROUP:
            doors = self.doors(host)
            entered: list[int] = []
            try:
                for here, door in doors:
                    entered.append(here)
                    os.write(door, b"0")
                step("unshare of the cgroup namespace", libc.unshare(CLONE_NEWCGROUP))
            finally:
                for _, door in doors:
                    os.close(door)
                for here in entered:
                    os.write(here, b"0")
        if flags & CLONE_NEWNET and self.spare.nets:
            self.spare.enter()
            flags &= ~CLONE_NEWNET
        step("unshare", libc.unshare(flags & ~CLONE_NEWCGROUP))

    def doors(self, host: Host) -> list[tuple[int, int]]:
        """Of each of the host's control groups, a descriptor of where this process is in its place, and one of itself.

        Who writes 0 there is in it. Those of the host's groups are to be closed.
        """
        opened: list[tuple[int, int]] = []
        try:
            for here, folder in self.groups:
                try:
                    opened.append((here, open_door(f"{folder}/{host.node}{HOST}".lstrip("/"), self.machine)))
                except FileNotFoundError:
                    continue
        except BaseException:
            for _, door in opened:
                os.close(door)
            raise
        return opened

    def to_machine(self) -> None:
        """Move into the machine's own mount namespace."""
        self.away |= CLONE_NEWNS
        step("setns", libc.setns(self.machine_mnt, CLONE_NEWNS))

    def go_home(self) -> None:
        """Return to the zygote's own namespaces, and so let go of the last host's."""
        for fd, kind in self.home if self.away else ():
            if kind & self.away:
                step("setns", libc.setns(fd, kind))
        self.away = 0

    def identity(self, pid: int) -> tuple[str, str]:
        """Start time of the host's init (field 22 of proc_pid_stat(5)) and inode of its network namespace."""
        fd = os.open(f"{pid}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        start = os.read(fd, 1024).rpartition(b")")[2].split()[19].decode()
        os.close(fd)
        return start, str(os.stat(f"{pid}/ns/net", dir_fd=self.proc).st_ino)

    # Root

    def tree_of(self, folder: str) -> int:
        """A copy of what is mounted at a folder of the machine."""
        self.to_machine()
        try:
            return clone_tree(folder)
        finally:
            self.go_home()

    def build(self, host: Host, tree: int = -1, owner: int = -1) -> None:
        """Lay the host's root out at `root`: over `tree`, if it is given, else over the machine's files.

        With `owner`, a user namespace, they are shown with its ids where the kernel can do that.
        """
        os.chdir("/proc")
        layer = f"hosts/{host.node}"
        upper = f"{layer}/upper"
        for folder in (layer, upper, f"{layer}/work", f"{upper}/etc"):
            os.mkdir(folder, 0o755)
        write(f"{upper}/etc/hostname", f"{host.hostname}\n")
        lower = ["skeleton"]
        if tree >= 0:
            lower.append(self.lower(f"rootfs {host.rootfs}", tree, "lower", owner))
            os.close(tree)
        elif self.options:
            lower.append("places")
        else:
            lower.append(self.shown("/", "lower", owner))
        if owner >= 0:
            give_to_root(upper, zygote_mapped.root_ids(host))
        mark = f"vtopo:{self.lab}:{host.node}"
        layers = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={layer}/work{self.options}"
        mount(mark, "root", "overlay", 0, layers)
        for name in self.devices:
            mount(f"devices/{name}", f"root/dev/{name}", None, MS_BIND)
        for number, disk in enumerate(self.disks if tree < 0 else ()):
            try:
                self.show(disk, mark, f"{layer}/{number}", owner)
            except (SetupError, OSError):
                if not is_gone(disk.path):
                    raise

    def shown(self, path: str, place: str, owner: int) -> str:
        """A lower layer with the files of a folder that is mounted here: itself, or with other ids."""
        if owner < 0:
            return escaped(path)
        tree = clone_tree(path)
        try:
            return self.lower(path, tree, place, owner)
        finally:
            os.close(tree)

    def lower(self, key: str, tree: int, place: str, owner: int) -> str:
        """A lower layer with a copy of a mount, at `place`, and over it one with the ids of `owner`."""
        os.makedirs(place, exist_ok=True)
        attach(tree, place)
        make_read_only(place)
        if owner >= 0 and self.mappable.get(key, True):
            mapped = clone_tree(place)
            try:
                if can := map_ids(mapped, owner):
                    attach(mapped, place)
            finally:
                os.close(mapped)
            if key not in self.mappable:
                self.mappable[key] = can and self.can_overlay(place)
                if can and not self.mappable[key]:  # a kernel whose overlayfs takes no such layers
                    step("umount of a trial layer", libc.umount2(os.fsencode(place), MNT_DETACH))
        return place

    def show(self, disk: Disk, mark: str, layer: str, owner: int) -> None:
        """Put one of the machine's other disks into the new root."""
        target = f"root{disk.path}"
        if disk.read_only:
            mount(disk.path, target, None, MS_BIND)
            make_read_only(target)
            return
        for folder in (layer, f"{layer}/upper", f"{layer}/work"):
            os.mkdir(folder, 0o755)
        copy_owner(disk.path, f"{layer}/upper")
        lower = self.shown(disk.path, f"lower-{layer.rpartition('/')[2]}", owner)
        if disk.path == "/etc":  # without root
            lower = f"skeleton/etc:{lower}"
            os.rename(f"{layer[: layer.rindex('/')]}/upper/etc/hostname", f"{layer}/upper/hostname")
        layers = f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work{self.options}"
        mount(mark, target, "overlay", 0, layers)

    # Init

    def start_init(self, host: Host) -> int:
        """Start the host's first process, which mounts its /proc where only that can; its pid on the machine."""
        ours, theirs = os.pipe()
        try:
            pid = self.spawn(host, theirs)
        finally:
            os.close(theirs)
        try:
            answer = os.read(ours, 4)
        finally:
            os.close(ours)
        if len(answer) < 4:
            raise SetupError(errno.ECHILD, "its init was killed during set-up")
        number = -int.from_bytes(answer, sys.byteorder, signed=True)
        if number:
            end(pid)
            if host.has("mnt"):
                raise refused(number, "mount of proc on /proc", MASKED.format("/proc"))
            raise refused(number, "start of its init")
        return pid

    def spawn(self, host: Host, pipe: int) -> int:
        """A process that has nothing open but /dev/null and, until it has answered, the pipe as descriptor 3."""
        title, environ = host.title(self.lab), host.environ()
        mounts = host.has("mnt")
        # To try whether there is a program would end the pid namespace: what fails to start was its first process.
        has_program = self.still >= 0
        if mounts and has_program:
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
                *((os.POSIX_SPAWN_DUP2, 0, fd) for fd in (1, 2)),
                (os.POSIX_SPAWN_DUP2, pipe, 3),
            ]
            try:
                return os.posix_spawn(INIT, [title], environ, file_actions=actions)
            except OSError as e:
                # Before Linux 6.3, what shares its memory while it starts cannot move into a time namespace.
                if e.errno != errno.EINVAL or not host.has("time"):
                    raise
        pid = os.fork()
        if pid == 0:
            try:
                program: str | int = self.still
                if mounts:
                    program = INIT if has_program else -1
                become_init(program, title, environ, pipe, mounts)
            except OSError as e:
                answer = (-(e.errno or errno.EIO)).to_bytes(4, sys.byteorder, signed=True)
                for fd in (pipe, 3):  # where it is by then
                    try:
                        os.write(fd, answer)
                    except OSError:
                        pass
            finally:
                os._exit(1)
        return pid


def serve(zygote: Zygote) -> None:
    """Answer messages until the other end closes."""
    zygote.reserve()
    while message := zygote.wire.recv(1 << 16):
        verb, *fields = os.fsdecode(message).split("\0")
        if verb == "likely":
            zygote.spare.lay_in(int(fields[0]))
            continue
        zygote.spare.stop()
        if verb == "base":
            zygote.prepare(*fields)
            zygote.send("ready")
            continue
        for i in range(0, len(fields), FIELDS):
            zygote.make(Host(*fields[i : i + FIELDS]))
        zygote.go_home()
    zygote.spare.stop()


FIELDS = 7  # of a host in a message


def main() -> None:
    """Run until the socket on standard input closes; the last message tells of what ended it otherwise."""
    # A run that is killed makes no more hosts from that moment on: another may follow at once.
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    zygote = Zygote(os.environ["VTOPO_LAB"], _socket.socket(fileno=0))
    try:
        serve(zygote)
    except SetupError as e:
        zygote.send("broken", str(e.args[0]), e.args[1])
    except OSError as e:
        if e.errno not in (errno.EPIPE, errno.ECONNRESET):
            zygote.send("broken", str(e.errno), f"{e.filename or 'zygote'}: {e.strerror}")
            os._exit(1)
    # Taking every object apart first would take longer than a host does.
    os._exit(0)
